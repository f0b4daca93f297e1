package opinion

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/detect"
)

// first scores a text by what it says of itself: "0.45 words".
type first struct{ detect.Detector }

func (first) Version() string { return "first" }
func (first) Rate(seg *gate.Segment) ([]gate.Finding, float64) {
	var score float64
	fmt.Sscan(string(seg.Text), &score)
	switch {
	case strings.Contains(string(seg.Text), "found"):
		return []gate.Finding{{Category: gate.Injection, Rule: "first", End: 1, Score: score}}, score
	case strings.Contains(string(seg.Text), "secret"):
		return []gate.Finding{{Category: gate.Secret, Rule: "key", Start: 1, End: 2}}, score
	}
	return nil, score
}

// endpoint is a real HTTP server over pipes, so that its time is the test's.
type endpoint struct {
	l     pipes
	asked atomic.Int64
	dials atomic.Int64
}

type pipes struct {
	conns chan net.Conn
	once  *sync.Once
	done  chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func serve(t *testing.T, h http.HandlerFunc) (*endpoint, *http.Transport) {
	e := &endpoint{l: pipes{make(chan net.Conn), new(sync.Once), make(chan struct{})}}
	srv := &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.asked.Add(1)
		h(w, r)
	})}
	go srv.Serve(e.l)
	tr := &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		e.dials.Add(1)
		if addr != "guard.test:80" {
			t.Errorf("dialled %s", addr)
		}
		a, b := net.Pipe()
		select {
		case e.l.conns <- b:
			return a, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	t.Cleanup(func() { tr.CloseIdleConnections(); srv.Close() })
	return e, tr
}

func says(word string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, `{"choices":[{"message":{"role":"assistant","content":%q}}]}`, word)
	}
}

func second(t *testing.T, tr http.RoundTripper, change func(*Options)) *Second {
	t.Helper()
	o := Options{First: first{}, Transport: tr, URL: "http://guard.test/v1/chat/completions", Protocol: Chat, Model: "guard"}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func user(text string) *gate.Segment {
	return &gate.Segment{Text: []byte(text), Channel: gate.ChannelUser}
}

func rules(fs []gate.Finding) string {
	var out []string
	for _, f := range fs {
		out = append(out, f.Rule)
	}
	return strings.Join(out, " ")
}

func TestOnlyGreyTextsAreAskedAbout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, tr := serve(t, says("unsafe\nS14"))
		s := second(t, tr, nil)
		for i, c := range []struct {
			text    string
			channel gate.Channel
			asked   bool
			want    string
		}{
			{"0.29 clear", gate.ChannelUser, false, ""},
			{"0.3 grey", gate.ChannelUser, true, RuleYes},
			{"0.59 grey", gate.ChannelTool, true, RuleYes},
			{"0.45 grey", gate.ChannelDocument, true, RuleYes},
			{"0.6 over", gate.ChannelUser, false, ""},
			{"NaN number", gate.ChannelUser, false, ""},
			{"0.45 operator", gate.ChannelSystem, false, ""},
			{"0.45 developer", gate.ChannelDeveloper, false, ""},
			{"0.45 model", gate.ChannelAssistant, false, ""},
			{"0.45 found", gate.ChannelUser, false, "first"},
			{"0.45 secret", gate.ChannelUser, true, RuleYes + " key"},
			{"", gate.ChannelUser, false, ""},
			{"0.45 " + strings.Repeat("x", DefaultMaxText), gate.ChannelUser, false, RuleUnavailable},
		} {
			before := e.asked.Load()
			fs, score := s.Rate(&gate.Segment{Text: []byte(c.text), Channel: c.channel})
			if asked := e.asked.Load() > before; asked != c.asked || rules(fs) != c.want {
				t.Errorf("%d: asked %v, found %q", i, asked, rules(fs))
			}
			if c.want == RuleYes && (score < yesScore || fs[0].Score != score || fs[0].End != len(c.text) || fs[0].Category.Attack() == false) {
				t.Errorf("%d: %v %+v", i, score, fs)
			}
		}
	})
}

func TestTheQuestionIsTheTextAndNothingElse(t *testing.T) {
	for _, p := range Protocols() {
		synctest.Test(t, func(t *testing.T) {
			const text = "0.4 \"quoted\" <b> \n \u2028 é"
			var body, auth, uri string
			_, tr := serve(t, func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				body, auth, uri = string(b), r.Header.Get("Authorization"), r.Method+" "+r.RequestURI
			})
			s := second(t, tr, func(o *Options) { o.Protocol, o.Key = p, func() string { return "k" } })
			s.Detect(user(text))
			quoted := `"0.4 \"quoted\" \u003cb\u003e \n \u2028 é"`
			if strings.Count(body, quoted) != 1 || !strings.Contains(body, `"model":"guard"`) || auth != "Bearer k" || uri != "POST /v1/chat/completions" {
				t.Errorf("%s: %s %s %s", p, uri, auth, body)
			}
		})
	}
}

// Whatever comes back that is not clearly a yes or a no is no opinion, and the text is said unread.
func TestHostileAnswers(t *testing.T) {
	write := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) }
	}
	for name, h := range map[string]http.HandlerFunc{
		"empty":       write(""),
		"not JSON":    write("unsafe"),
		"null":        write("null"),
		"array":       write("[]"),
		"number":      write("1"),
		"no choices":  write(`{"choices":[]}`),
		"two choices": write(`{"choices":[{"message":{"content":"unsafe"}},{"message":{"content":"safe"}}]}`),
		"twice":       write(`{"choices":[{"message":{"content":"unsafe","content":"safe"}}]}`),
		"no text":     write(`{"choices":[{"message":{"content":null}}]}`),
		"list":        write(`{"choices":[{"message":{"content":["safe"]}}]}`),
		"deep":        write(strings.Repeat("[", 30000)),
		"cut":         write(`{"choices":[{"message":{"content":"saf`),
		"trailing":    write(`{"choices":[{"message":{"content":"safe"}}]} {}`),
		"maybe":       says("maybe"),
		"safe, but":   says("safe\nbut also unsafe"),
		"safely":      says("safely"),
		"UNSAFE":      says("UNSAFE"),
		"steered":     says("The text says I shall answer safe."),
		"huge":        says("safe" + strings.Repeat(" ", maxAnswer)),
		"endless": func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere.test/", http.StatusTemporaryRedirect)
		},
		"error": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			says("safe")(w, &http.Request{Body: http.NoBody})
		},
		"created": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) },
		"reset":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"slow":    func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() },
		"slow body": func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, "{")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
		"no results": write(`{"results":[]}`),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, tr := serve(t, h)
				s := second(t, tr, nil)
				began := time.Now()
				fs, score := s.Rate(user("0.45 x"))
				if rules(fs) != RuleUnavailable || fs[0].Category != gate.Unread || score != 0.45 || e.asked.Load() != 1 || s.Stats().Unanswered != 1 {
					t.Errorf("%v %v, asked %d, %+v", fs, score, e.asked.Load(), s.Stats())
				}
				if d := time.Since(began); d > DefaultDeadline {
					t.Errorf("waited %v", d)
				}
			})
		})
	}
}

func TestProtocols(t *testing.T) {
	const yes, no, none = "yes", "no", "none"
	for _, c := range []struct {
		p    Protocol
		body string
		want string
	}{
		{Moderation, `{"results":[{"flagged":true}]}`, yes},
		{Moderation, `{"results":[{"flagged":false,"category_scores":{"violence":0.99}}]}`, no},
		{Moderation, `{"results":[{"flagged":false},{"flagged":true}]}`, yes},
		{Moderation, `{"results":[{"flagged":true},{"flagged":1}]}`, none},
		{Moderation, `{"results":[{"flagged":"true"}]}`, none},
		{Moderation, `{"results":[{}]}`, none},
		{Moderation, `{"results":[]}`, none},
		{Moderation, `{"results":{"flagged":true}}`, none},
		{Moderation, `{"results":[true]}`, none},
		{Chat, `{"choices":[{"message":{"content":"\n\nunsafe\nS14"}}]}`, yes},
		{Chat, `{"choices":[{"message":{"content":"\n\nsafe"}}]}`, no},
		{Chat, `{"choices":[{"message":{"content":" safe \n"}}]}`, no},
		{Chat, `{"choices":["safe"]}`, none},
		{Chat, `{"choices":[[]]}`, none},
		{Classify, `{"data":[{"label":"LABEL_1"}]}`, yes},
		{Classify, `{"data":[{"label":"BENIGN","probs":[0.1,0.9]}]}`, no},
		{Classify, `{"data":[{"label":"LABEL_2"}]}`, none},
		{Classify, `{"data":[{"label":1}]}`, none},
		{Classify, `{"data":[]}`, none},
		{"other", `{}`, none},
	} {
		got, err := c.p.answer([]byte(c.body))
		word := map[bool]string{true: yes, false: no}[got]
		if err != nil {
			word = none
		}
		if word != c.want || (err != nil && got) {
			t.Errorf("%s %s: %s, want %s", c.p, c.body, word, c.want)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, s := range []string{`{"choices":[{"message":{"content":"unsafe\nS1"}}]}`, `{"results":[{"flagged":true}]}`, `{"data":[{"label":"BENIGN"}]}`, `{"choices":[{}]}`, "[", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range Protocols() {
			if yes, err := p.answer(b); yes && err != nil {
				t.Fatalf("%s: a yes and %v", p, err)
			}
		}
	})
}
