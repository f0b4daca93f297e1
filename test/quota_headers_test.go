package test

import (
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/iam/quota"
)

// An answer says what is left of the limit that is nearest, whole or streamed, and leaves every field of
// the provider's as it was: where the provider sends the same names, ours are others.
func TestAnAnswerSaysWhatIsLeft(t *testing.T) {
	bounds := []quota.Bound{
		minute(quota.Requests, 10), minute(quota.Tokens, 1<<40), {Subject: "all", Unit: quota.Concurrency, Amount: 3},
	}
	theirs := http.Header{"X-Ratelimit-Remaining-Requests": {"59"}, "X-Ratelimit-Limit-Requests": {"60"}}
	both := http.Header{"Ratelimit": {`"theirs";r=1`}, "X-Ratelimit-Remaining-Requests": {"59"}}
	left := 10
	l := newLimited(t, bounds...)
	for _, c := range []struct {
		name   string
		reply  http.Header
		prefix string
	}{{"alone", nil, ""}, {"beside others", theirs, ""}, {"beside the same", both, "Sallyport-"}} {
		for _, r := range []request{good, goodStream} {
			rep := jsonReply(200, `{"usage":{"prompt_tokens":2,"completion_tokens":3}}`, c.reply)
			if r.target == goodStream.target && strings.Contains(string(r.body), `"stream":true`) {
				rep = streamReply(chatStream)
				for k, v := range c.reply {
					rep.Header[k] = v
				}
			}
			l.up.Answer(rep)
			res := do(t, l.URL, r)
			left--
			want := `"requests-per-minute";r=` + string(rune('0'+left)) + ";t=30"
			if res.status != 200 || res.header.Get(c.prefix+"RateLimit") != want || res.header.Get(c.prefix+"RateLimit-Policy") != `"requests-per-minute";q=10;w=60` {
				t.Errorf("%s: %d %v, want %s", c.name, res.status, res.header, want)
			}
			for k, v := range c.reply {
				if got := res.header.Values(k); len(got) != 1 || got[0] != v[0] {
					t.Errorf("%s: the provider's %s became %q", c.name, k, got)
				}
			}
			if res.header.Get("Retry-After") != "" || res.header.Get("X-Should-Retry") != "" {
				t.Errorf("%s: %v", c.name, res.header)
			}
		}
	}
	free := newLimited(t)
	free.up.Answer(jsonReply(200, `{}`, theirs))
	for k := range do(t, free.URL, good).header {
		if strings.HasPrefix(k, "Ratelimit") || strings.HasPrefix(k, "Sallyport-Ratelimit") {
			t.Errorf("without a limit the answer has %s", k)
		}
	}
}

// Calls at once and bytes, through the proxy: the third call is refused while two are on their way, and
// passes when one has ended; bytes of request and answer both count.
func TestConcurrencyAndBytesThroughTheProxy(t *testing.T) {
	at := quota.Bound{Subject: "all", Unit: quota.Concurrency, Amount: 2}
	l := newLimited(t, at)
	wait := make(chan struct{})
	rep := jsonReply(200, `{}`, nil)
	rep.Wait = wait
	l.up.Answer(rep)
	done := make(chan int, 2)
	for range 2 {
		go func() { done <- do(t, l.URL, good).status }()
	}
	arrived(t, l.up, 2)
	if res := do(t, l.URL, good); res.status != 429 || res.header.Get("Retry-After") != "1" || !strings.Contains(string(res.body), "concurrency_limit_exceeded") {
		t.Errorf("a third call: %d %v %s", res.status, res.header, res.body)
	}
	close(wait)
	if a, b := <-done, <-done; a != 200 || b != 200 {
		t.Errorf("%d and %d", a, b)
	}
	l.done(t, 3, at)
	if res := do(t, l.URL, good); res.status != 200 {
		t.Errorf("afterwards: %d", res.status)
	}

	bytes := minute(quota.Bytes, 90_000)
	l = newLimited(t, bytes)
	answer := `{"a":"` + strings.Repeat("x", 40_000) + `"}`
	l.up.Answer(jsonReply(200, answer, nil))
	for i, want := range []int{200, 200, 429} {
		res := do(t, l.URL, good)
		if res.status != want {
			t.Errorf("call %d: %d %.200s", i, res.status, res.body)
		}
	}
	if n, want := l.engine.Used(bytes), int64(2*(len(answer)+len(good.body))); n != want {
		t.Errorf("%d bytes on the books, want %d", n, want)
	}
}
