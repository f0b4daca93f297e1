package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func at(t *testing.T, s *httptest.Server) *target {
	t.Cleanup(s.Close)
	return &target{name: "t", addr: strings.TrimPrefix(s.URL, "http://")}
}

func simulator(t *testing.T) *target {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go upstream(l, 10*time.Millisecond)
	return &target{name: "direct", addr: l.Addr().String()}
}

// TestEveryWrongAnswerCounts: whatever a gateway does wrong makes the run invalid.
func TestEveryWrongAnswerCounts(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"503": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"another body": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, strings.Replace(answer, "six", "ten", 1))
		},
		"cut body": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer[:len(answer)-1]) },
		"broken body": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9999")
			io.WriteString(w, answer)
		},
		"cut stream": func(w http.ResponseWriter, r *http.Request) {
			if b, _ := io.ReadAll(r.Body); !bytes.Contains(b, []byte(`"stream":true`)) {
				io.WriteString(w, answer)
				return
			}
			io.WriteString(w, event)
			_ = http.NewResponseController(w).Flush()
		},
	} {
		bad, direct := at(t, httptest.NewServer(h)), simulator(t)
		ds, bs := &sample{}, &sample{}
		latency([]*target{direct, bad}, []*sample{ds, bs}, 5)
		throughput(bad, bs, 2, 20*time.Millisecond)
		streams(direct, bad, bs, 0, 0, 2, 0)
		if ds.Failed != 0 {
			t.Errorf("%s: direct failed: %s", name, ds.Why)
		}
		rep := report{Rows: []row{{Name: "direct", Samples: []sample{*ds}}, {Name: "bad", Samples: []sample{*bs}}}}
		if rep.judge(); bs.Failed == 0 || rep.Valid {
			t.Errorf("%s: %d failures, valid %v", name, bs.Failed, rep.Valid)
		}
		var out bytes.Buffer
		if rep.print(&out); !strings.Contains(out.String(), "INVALID") {
			t.Errorf("%s: the table does not say that the run is invalid", name)
		}
	}
}

func TestGoodAnswersCount(t *testing.T) {
	direct := simulator(t)
	s := &sample{}
	latency([]*target{direct}, []*sample{s}, 20)
	throughput(direct, s, 4, 50*time.Millisecond)
	streams(direct, direct, s, 0, 5, 3, 10*time.Millisecond)
	if s.Failed != 0 || s.PerSecond == 0 || s.P99 < s.P50 || s.P50 == 0 {
		t.Fatalf("%+v", s)
	}
}

func TestPromptsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		p := string(prompt(nil))
		if seen[p] || len(p) < 120 || len(p) > 300 {
			t.Fatalf("prompt %q", p)
		}
		seen[p] = true
	}
}

func TestGoalsCanBeMissed(t *testing.T) {
	slow := sample{PerSecond: 10, AddedP50: 9000, AddedP99: 9000, AddedTTFT: 9000, PerStream: 1 << 20}
	rep := report{Rows: []row{
		{Name: "reverseproxy", Samples: []sample{{PerSecond: 100}}},
		{Name: "sallyport durable", RSSRest: 1 << 30, Samples: []sample{slow}},
		{Name: "sallyport best_effort", Samples: []sample{slow}},
	}}
	rep.judge()
	if len(rep.Goals) != 7 {
		t.Fatalf("%d goals", len(rep.Goals))
	}
	for _, g := range rep.Goals {
		if g.Met {
			t.Errorf("%s: met with %v", g.Name, g.Got)
		}
	}
}
