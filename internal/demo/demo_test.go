package demo_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/demo"
	"sallyport.dev/sallyport/internal/simulate"
)

func TestCallsAreWhole(t *testing.T) {
	names, kinds := map[string]bool{}, map[demo.Verdict]int{}
	for _, c := range demo.Calls() {
		if names[c.Name] || c.Name == "" || c.Shows == "" {
			t.Errorf("%q: a name twice, or none", c.Name)
		}
		names[c.Name] = true
		kinds[c.Expect.Verdict]++
		if !json.Valid([]byte(c.Body)) {
			t.Errorf("%s: the body is not JSON: %s", c.Name, c.Body)
		}
	}
	if len(names) < 14 || kinds[demo.Passed] < 6 || kinds[demo.Blocked] < 6 || kinds[demo.Sanitized] < 3 || kinds[demo.Refused] < 1 {
		t.Errorf("%d calls: %v", len(names), kinds)
	}
}

// A proxy that inspects nothing must not pass the demonstration: every call that has to be stopped
// is reported, and no other.
func TestUninspectingProxyFails(t *testing.T) {
	sim := simulate.New(simulate.Options{})
	up := httptest.NewServer(sim)
	defer up.Close()
	target, _ := url.Parse(up.URL)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error { r.Header.Set("Sallyport-Id", "x"); return nil }}
	front := httptest.NewServer(proxy)
	defer front.Close()
	var out strings.Builder
	ok, err := demo.Run(t.Context(), front.Client(), front.URL, sim.Seen, &out)
	if err != nil || ok {
		t.Fatalf("ok=%v err=%v\n%s", ok, err, &out)
	}
	lines := strings.Split(out.String(), "\n")
	for i, c := range demo.Calls() {
		if wrong := strings.HasPrefix(lines[i+1], "WRONG"); wrong == (c.Expect.Verdict == demo.Passed) {
			t.Errorf("%s", lines[i+1])
		}
	}
}

// What an answer holds never reaches the terminal as it is.
func TestHostileAnswerIsNotPrintedRaw(t *testing.T) {
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("\x1b]0;owned\a\x1b[2J\u202e" + strings.Repeat("x", 5000)))
	}))
	defer front.Close()
	var out strings.Builder
	ok, err := demo.Run(t.Context(), front.Client(), front.URL, func() []simulate.Seen { return nil }, &out)
	if err != nil || ok {
		t.Fatal(ok, err)
	}
	for _, r := range out.String() {
		if r > '~' || (r < ' ' && r != '\n') {
			t.Fatalf("%q reached the terminal", r)
		}
	}
	if strings.Contains(out.String(), strings.Repeat("x", 100)) {
		t.Error("an answer is printed at length")
	}
}

func TestGatewayThatIsNotThere(t *testing.T) {
	front := httptest.NewServer(nil)
	front.Close()
	if ok, err := demo.Run(t.Context(), http.DefaultClient, front.URL, func() []simulate.Seen { return nil }, &strings.Builder{}); err == nil || ok {
		t.Error("no error without a gateway")
	}
}
