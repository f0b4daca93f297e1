package exchange_test

import (
	"net/url"
	"testing"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/exchange"
)

// FuzzParseRequest holds the reader to what it promises: what it takes has each parameter once, is within
// the bounds, and means the same when it is written anew.
func FuzzParseRequest(f *testing.F) {
	f.Add(form("a.b.c").Encode())
	f.Add(form("a.b.c", "scope", "model:x", "audience", own, "requested_token_type", exchange.TypeJWT).Encode())
	f.Add("grant_type=" + exchange.GrantType + "&subject_token=%00&subject_token_type=")
	f.Add("subject_token=a&subject_token=b;c&%zz")
	f.Fuzz(func(t *testing.T, body string) {
		r, no := exchange.ParseRequest(body)
		if (r == nil) == (no == nil) {
			t.Fatalf("%v, %v", r, no)
		}
		if no != nil {
			if no.Status != 400 || no.Code == "" || no.Description == "" || no.Reason == "" {
				t.Errorf("%+v", no)
			}
			return
		}
		v, err := url.ParseQuery(body)
		if err != nil {
			t.Fatal(err)
		}
		for name, vs := range v {
			if len(vs) > 1 && name != "resource" && name != "audience" {
				t.Errorf("%q stands %d times", name, len(vs))
			}
		}
		if v.Get("grant_type") != exchange.GrantType || v.Get("actor_token")+v.Get("client_secret") != "" {
			t.Errorf("%v", v)
		}
		if r.SubjectToken == "" || r.SubjectToken != v.Get("subject_token") || len(r.SubjectToken) > iam.MaxToken || len(r.Scope) > iam.MaxScopeText || !utf8.ValidString(r.SubjectToken+r.Scope) {
			t.Errorf("%+v", r)
		}
		again, no := exchange.ParseRequest(v.Encode())
		if no == nil && (again.SubjectToken != r.SubjectToken || again.Scope != r.Scope || len(again.Targets) != len(r.Targets)) {
			t.Errorf("%+v, then %+v", r, again)
		}
	})
}
