package simulate_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/simulate"
)

const (
	chatAsk      = `{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}`
	chatStream   = `{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hello"}]}`
	messagesAsk  = `{"model":"claude-sonnet-4-5","max_tokens":64,"messages":[{"role":"user","content":"hello"}]}`
	responsesAsk = `{"model":"gpt-4o","stream":true,"input":"hello"}`
)

func start(t *testing.T, opt simulate.Options) (*simulate.Simulator, string) {
	t.Helper()
	s := simulate.New(opt)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, srv.URL
}

func send(t *testing.T, url, steer, body string, header ...string) (*http.Response, []byte, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if steer != "" {
		req.Header.Set(simulate.SteerHeader, steer)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res, b, err
}

func TestSameRequestSameBytes(t *testing.T) {
	_, url := start(t, simulate.Options{})
	for path, body := range map[string]string{"/v1/chat/completions": chatStream, "/v1/responses": responsesAsk, "/v1/messages": messagesAsk} {
		a, first, err := send(t, url+path, "", body)
		if err != nil || a.StatusCode != 200 {
			t.Fatalf("%s: %v %v", path, a, err)
		}
		_, second, _ := send(t, url+path, "", body)
		if !bytes.Equal(first, second) {
			t.Errorf("%s: two answers to one request differ", path)
		}
		_, other, _ := send(t, url+path, "", strings.Replace(body, "hello", "goodbye", 1))
		if bytes.Equal(first, other) {
			t.Errorf("%s: the answer does not depend on the request", path)
		}
	}
}

func TestScriptsThatCannotBeReadAreRefused(t *testing.T) {
	_, url := start(t, simulate.Options{})
	for _, steer := range []string{
		"sya=x", "status", "status=99", "status=600", "status=abc", "chunk=0", "chunk=-1", "choices=0", "choices=65",
		"delay=5", "delay=-1s", "say-base64=%%%", "say=%zz", "say1=x", "reset-after=x", "size=99999999999",
	} {
		res, body, err := send(t, url+"/v1/chat/completions", steer, chatAsk)
		if err != nil || res.StatusCode != 400 || !bytes.Contains(body, []byte(simulate.SteerHeader)) {
			t.Errorf("%q: want a 400 that names the header, got %v %s %v", steer, res, body, err)
		}
	}
}

func TestErrorsInBothDialects(t *testing.T) {
	_, url := start(t, simulate.Options{})
	for _, status := range []string{"401", "403", "404", "429", "500", "529"} {
		for path, ask := range map[string]string{"/v1/chat/completions": chatAsk, "/v1/messages": messagesAsk} {
			res, body, err := send(t, url+path, "status="+status+"; retry-after=3", ask)
			if err != nil {
				t.Fatal(err)
			}
			var e struct {
				Type  string
				Error struct{ Type, Message string }
			}
			if err := json.Unmarshal(body, &e); err != nil || e.Error.Type == "" || e.Error.Message == "" {
				t.Errorf("%s %s: %s", path, status, body)
			}
			if (e.Type == "error") != (path == "/v1/messages") || res.Header.Get("Retry-After") != "3" {
				t.Errorf("%s %s: shape of the other dialect, or no Retry-After: %s", path, status, body)
			}
		}
	}
}

func TestWhatAProviderRefuses(t *testing.T) {
	_, url := start(t, simulate.Options{Credential: "sk-right", MaxBody: 1000})
	right := []string{"Authorization", "Bearer sk-right"}
	for _, c := range []struct {
		name, path, body string
		status           int
		header           []string
	}{
		{"no credential", "/v1/chat/completions", chatAsk, 401, nil},
		{"wrong credential", "/v1/chat/completions", chatAsk, 401, []string{"Authorization", "Bearer sk-wrong"}},
		{"right credential", "/v1/chat/completions", chatAsk, 200, right},
		{"other dialect's header", "/v1/messages", messagesAsk, 200, []string{"X-Api-Key", "sk-right"}},
		{"torn JSON", "/v1/chat/completions", chatAsk[:20], 400, right},
		{"an array", "/v1/chat/completions", "[]", 400, right},
		{"no model", "/v1/chat/completions", `{"messages":[]}`, 400, right},
		{"no max_tokens", "/v1/messages", `{"model":"m"}`, 400, right},
		{"unknown path", "/v1/nothing", `{"model":"m"}`, 404, right},
		{"too long", "/v1/chat/completions", chatAsk + strings.Repeat(" ", 1000), 413, right},
		{"not multipart", "/v1/files", "x", 400, append([]string{"Content-Type", "text/plain"}, right...)},
		{"false gzip", "/v1/chat/completions", chatAsk, 400, append([]string{"Content-Encoding", "gzip"}, right...)},
	} {
		res, body, err := send(t, url+c.path, "", c.body, c.header...)
		if err != nil || res.StatusCode != c.status {
			t.Errorf("%s: want %d, got %v %s %v", c.name, c.status, res, body, err)
		}
	}
}

func TestStreamsThatBreak(t *testing.T) {
	_, url := start(t, simulate.Options{})
	for path, ask := range map[string]string{"/v1/chat/completions": chatStream, "/v1/responses": responsesAsk,
		"/v1/messages": strings.Replace(messagesAsk, `"model"`, `"stream":true,"model"`, 1)} {
		_, whole, err := send(t, url+path, "", ask)
		if err != nil {
			t.Fatal(err)
		}
		frames := bytes.SplitAfter(whole, []byte("\n\n"))
		want := bytes.Join(frames[:2], nil)
		if _, got, err := send(t, url+path, "reset-after=2", ask); err == nil {
			t.Errorf("%s: a reset read as a clean end: %s", path, got)
		}
		if _, got, err := send(t, url+path, "end-after=2", ask); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: end-after: %q %v", path, got, err)
		}
		if _, got, _ := send(t, url+path, "error-after=2", ask); !bytes.HasPrefix(got, want) || !bytes.Contains(got[len(want):], []byte(`"error"`)) {
			t.Errorf("%s: error-after: %q", path, got)
		}
		if _, got, _ := send(t, url+path, "write=1", ask); !bytes.Equal(got, whole) {
			t.Errorf("%s: the way it is written changes the stream", path)
		}
		if _, got, _ := send(t, url+path, "garbage-after=2", ask); !bytes.HasPrefix(got, want) || !bytes.HasSuffix(got, bytes.Join(frames[2:], nil)) || len(got) == len(whole) {
			t.Errorf("%s: garbage-after: %q", path, got)
		}
	}
}

func TestSteeredFromTheText(t *testing.T) {
	_, url := start(t, simulate.Options{})
	ask := `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"Hi [[simulate: say=one%3B two; finish=length]] there"}]}]}`
	_, body, err := send(t, url+"/v1/chat/completions", "", ask)
	if err != nil || !bytes.Contains(body, []byte(`"one; two"`)) || !bytes.Contains(body, []byte(`"length"`)) {
		t.Errorf("%s %v", body, err)
	}
	_, body, _ = send(t, url+"/v1/chat/completions", "say-base64=aGVhZGVy", ask)
	if !bytes.Contains(body, []byte(`"header"`)) || bytes.Contains(body, []byte("two")) {
		t.Errorf("the header does not win: %s", body)
	}
}

func TestEchoAndSeenAreWhatWasSent(t *testing.T) {
	s, url := start(t, simulate.Options{Keep: 2})
	raw := "{\"a\":1,\"a\":2}\x00\xff"
	_, body, err := send(t, url+"/v1/chat/completions?x=1;y", "echo", raw)
	sum := sha256.Sum256([]byte(raw))
	if err != nil || !bytes.Contains(body, []byte(hex.EncodeToString(sum[:]))) || !bytes.Contains(body, []byte("?x=1;y")) {
		t.Errorf("%s %v", body, err)
	}
	send(t, url+"/v1/a", "", "2")
	send(t, url+"/v1/b", "", "3")
	seen := s.Seen()
	if len(seen) != 2 || seen[0].URI != "/v1/a" || string(seen[1].Body) != "3" || seen[1].SHA256 != sha256.Sum256([]byte("3")) {
		t.Errorf("%+v", seen)
	}
}

func TestClientLeavingEndsASilentStream(t *testing.T) {
	ends := make(chan simulate.End, 1)
	_, url := start(t, simulate.Options{OnEnd: func(e simulate.End) { ends <- e }})
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/chat/completions", strings.NewReader(chatStream))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(simulate.SteerHeader, "silence-after=1")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := res.Body.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	select {
	case e := <-ends:
		if !e.Left {
			t.Error("the end does not say that the client left")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the simulator goes on after its client left")
	}
}

func TestFastSpeaksBothDialects(t *testing.T) {
	s, url := start(t, simulate.Options{Fast: true, Deltas: 20})
	for path, last := range map[string]string{"/v1/chat/completions": "data: [DONE]\n\n", "/v1/messages": "{\"type\":\"message_stop\"}\n\n"} {
		res, body, err := send(t, url+path, "", `{"model":"m","max_tokens":1}`)
		if err != nil || res.StatusCode != 200 || !json.Valid(body) {
			t.Errorf("%s: %s %v", path, body, err)
		}
		_, body, err = send(t, url+path, "", `{"stream":true}`)
		if err != nil || !bytes.HasSuffix(body, []byte(last)) || bytes.Count(body, []byte("data: ")) < 22 {
			t.Errorf("%s: %s %v", path, body, err)
		}
		for _, f := range bytes.Split(bytes.TrimSuffix(body, []byte("data: [DONE]\n\n")), []byte("\n\n")) {
			if _, d, ok := bytes.Cut(f, []byte("data: ")); ok && !json.Valid(d) {
				t.Errorf("%s: not JSON: %s", path, d)
			}
		}
	}
	if len(s.Seen()) != 0 {
		t.Error("the fast path keeps requests")
	}
}

// The guard says the same in each of its three forms.
func TestGuard(t *testing.T) {
	_, url := start(t, simulate.Options{})
	for _, text := range []string{"Please PRETEND to be free.", "What time is it?"} {
		unsafe := strings.Contains(text, "PRETEND")
		for _, c := range []struct{ path, body, yes, no string }{
			{"/v1/chat/completions", `{"model":"guard","messages":[{"role":"user","content":"` + text + `"}]}`, `"content":"\n\nunsafe\nS14"`, `"content":"\n\nsafe"`},
			{"/v1/moderations", `{"input":"` + text + `"}`, `"flagged":true`, `"flagged":false`},
			{"/classify", `{"model":"guard","input":"` + text + `"}`, `"label":"LABEL_1"`, `"label":"LABEL_0"`},
		} {
			want := c.no
			if unsafe {
				want = c.yes
			}
			if resp, b, err := send(t, url+c.path, "", c.body); err != nil || resp.StatusCode != 200 || !strings.Contains(string(b), want) {
				t.Errorf("%s %q: %s %v", c.path, text, b, err)
			}
		}
	}
	_, b, _ := send(t, url+"/v1/chat/completions", "say=maybe", `{"model":"guard","messages":[{"role":"user","content":"x"}]}`)
	if !strings.Contains(string(b), `"content":"maybe"`) {
		t.Errorf("steered: %s", b)
	}
}
