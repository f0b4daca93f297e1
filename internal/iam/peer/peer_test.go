package peer_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport.dev/sallyport/internal/iam/peer"
)

func TestBound(t *testing.T) {
	const id = "spiffe://prod.example/ns/agents/sa/planner"
	for name, c := range map[string]struct {
		patterns []string
		peer     string
		want     bool
	}{
		"not bound, nobody":         {nil, "", true},
		"not bound, somebody":       {nil, id, true},
		"exactly":                   {[]string{id}, id, true},
		"nobody":                    {[]string{id}, "", false},
		"one of two":                {[]string{"spiffe://x/y", id}, id, true},
		"a segment":                 {[]string{"spiffe://prod.example/ns/agents/sa/*"}, id, true},
		"a part of one":             {[]string{"spiffe://prod.example/ns/*ge*/sa/pl*er"}, id, true},
		"another part":              {[]string{"spiffe://prod.example/ns/agents/sa/plan"}, id, false},
		"a segment more":            {[]string{"spiffe://prod.example/ns/agents/sa/*"}, id + "/x", false},
		"a segment less":            {[]string{"spiffe://prod.example/ns/agents/sa/*"}, "spiffe://prod.example/ns/agents/sa", false},
		"an empty segment":          {[]string{"spiffe://prod.example/ns/agents/sa/*"}, "spiffe://prod.example/ns/agents/sa/", false},
		"a star over two":           {[]string{"spiffe://prod.example/ns/*/planner"}, id, false},
		"another trust domain":      {[]string{"spiffe://prod.example/*"}, "spiffe://test.example/a", false},
		"a trust domain longer":     {[]string{"spiffe://prod.example/*"}, "spiffe://prod.example.evil/a", false},
		"another case":              {[]string{id}, strings.ToUpper(id), false},
		"a star for a trust domain": {[]string{"spiffe://*/ns/agents/sa/planner"}, id, false},
		"a star alone":              {[]string{"*"}, id, false},
		"two stars":                 {[]string{"spiffe://prod.example/**"}, "spiffe://prod.example/a", false},
		"https":                     {[]string{"https://prod.example/a"}, "https://prod.example/a", false},
		"a query":                   {[]string{"spiffe://prod.example/a?b"}, "spiffe://prod.example/a?b", false},
		"an empty pattern":          {[]string{""}, "", false},
		"dots":                      {[]string{"spiffe://prod.example/a/../b"}, "spiffe://prod.example/a/../b", false},
		"a trust domain alone":      {[]string{"spiffe://prod.example"}, "spiffe://prod.example", false},
		"overlapping ends":          {[]string{"spiffe://prod.example/ab*ba"}, "spiffe://prod.example/aba", false},
	} {
		if got := peer.Bound(c.patterns, c.peer); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A segment matches as the regular expression of the same meaning does.
func TestMatchIsTheRegularExpression(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pat := "spiffe://d/" + rapid.StringMatching(`[ab*]{1,5}(/[ab*]{1,3})?`).Draw(t, "pattern")
		id := "spiffe://d/" + rapid.StringMatching(`[ab/]{0,7}`).Draw(t, "id")
		want := peer.Check(pat) == nil && !strings.HasSuffix(id, "/") && !strings.Contains(id[len("spiffe://"):], "//") &&
			regexp.MustCompile("^"+strings.ReplaceAll(regexp.QuoteMeta(pat), `\*`, `[^/]*`)+"$").MatchString(id)
		if got := peer.Match(pat, id); got != want {
			t.Fatalf("%s %s: %v, want %v", pat, id, got, want)
		}
	})
}

func BenchmarkBound(b *testing.B) {
	patterns := []string{"spiffe://prod.example/ns/other/sa/*", "spiffe://prod.example/ns/agents/sa/*"}
	b.ReportAllocs()
	for b.Loop() {
		if !peer.Bound(patterns, "spiffe://prod.example/ns/agents/sa/planner") {
			b.Fatal()
		}
	}
}
