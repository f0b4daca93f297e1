package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/sallyport/test/gatetest"
)

// A provider that repeats the gateway's credential, wherever in its answer and in whatever pieces, does not
// give it to the caller; every other byte goes on.
func TestAProviderThatRepeatsItsKey(t *testing.T) {
	const own, second = "sk-provider-own-0123456789", "org-secret-header-value"
	t.Setenv("PROVIDER_KEY", own)
	t.Setenv("PROVIDER_HEADER", second)
	up := gatetest.NewUpstream(t)
	g := gatetest.Start(t, up, fmt.Sprintf("iam: {mode: keys}\nproxy:\n  allow_private: [127.0.0.0/8]\n  upstreams:\n    - {name: openai, dialect: openai, base_url: %q, credential: {env: PROVIDER_KEY}, headers: {X-Org: {env: PROVIDER_HEADER}, X-Version: 2023-06-01}}\n", up.URL))
	_, key := administer(t, g).key("")
	ask := chat(question).with("Authorization", "Bearer "+key)
	soon(t, g.URL, ask, 200)
	sse := http.Header{"Content-Type": {"text/event-stream"}}
	said := func(text string) string {
		return `data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"` + text + `"},"finish_reason":null}]}` + "\n\n"
	}
	stream := said("The key is "+own+" and "+second+" here.") + "data: [DONE]\n\n"
	replies := map[string]gatetest.Reply{
		"an error":   jsonReply(401, `{"error":{"message":"Incorrect API key provided: `+own+`, `+second+`.","type":"invalid_request_error","code":"invalid_api_key","param":null}}`, nil),
		"a header":   jsonReply(200, `{"ok":true}`, http.Header{"X-Echo": {"Bearer " + own, second}, "Www-Authenticate": {`Bearer realm="` + own + `"`}}),
		"a trailer":  {Status: 200, Header: http.Header{"Content-Type": {"text/plain"}}, Chunks: [][]byte{[]byte("a")}, Trailer: http.Header{"X-Echo": {own}}},
		"bytes":      {Status: 200, Header: http.Header{"Content-Type": {"audio/mpeg"}}, Chunks: [][]byte{[]byte("\xff\xfb" + own[:9]), []byte(own[9:] + "\x00"), []byte(second)}},
		"words":      {Status: 200, Header: http.Header{"Content-Type": {"text/plain"}}, Body: []byte("you sent " + own + own + " " + second)},
		"no content": {Status: 204, Header: http.Header{"X-Echo": {own}}},
		// A value that stands in the configuration as it is, is no secret.
		"a version": {Status: 200, Header: http.Header{"Content-Type": {"text/plain"}, "X-Version": {"2023-06-01"}}, Body: []byte("since 2023-06-01")},
	}
	for at := 1; at < len(stream); at += 7 {
		replies[fmt.Sprint("a stream cut at ", at)] = gatetest.Reply{Status: 200, Header: sse, Chunks: [][]byte{[]byte(stream[:at]), []byte(stream[at:])}}
	}
	hide := strings.NewReplacer(own, strings.Repeat("*", len(own)), second, strings.Repeat("*", len(second)))
	for name, r := range replies {
		up.Answer(r)
		res := do(t, g.URL, ask)
		all := fmt.Sprint(res.header, string(res.body), res.trailer)
		if strings.Contains(all, own) || strings.Contains(all, second) {
			t.Errorf("%s: %s", name, all)
		}
		want := string(r.Body)
		for _, c := range r.Chunks {
			want += string(c)
		}
		if string(res.body) != hide.Replace(want) || res.status != r.Status {
			t.Errorf("%s: %d %q, want %q", name, res.status, res.body, hide.Replace(want))
		}
		if e := g.Event(res.header.Get("Sallyport-Id")); (e["sanitized"] == true) != (name != "a version") {
			t.Errorf("%s: the record says sanitized %v", name, e["sanitized"])
		}
	}
	g.Close()
	for _, s := range []string{own, second} {
		if f := holds(t, g.Dir, s); len(f) > 0 || strings.Contains(g.Log.String(), s) {
			t.Errorf("it is in %v or in the log", f)
		}
	}
}
