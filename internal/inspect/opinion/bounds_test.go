package opinion

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sallyport.dev/sallyport/internal/gate"
)

// The deadline is the call's, however many of its texts are asked about, and texts for which there
// is no time are not held against the endpoint.
func TestTheDeadlineIsOfTheWholeCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, tr := serve(t, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(100 * time.Millisecond)
			says("safe")(w, r)
		})
		s := second(t, tr, nil)
		began, read := time.Now(), s.Call("c")
		unread := 0
		for i := range 50 {
			if rules(read(user(fmt.Sprintf("0.45 %d", i)))) == RuleUnavailable {
				unread++
			}
		}
		if d := time.Since(began); d > DefaultDeadline || e.asked.Load() != 2 || unread != 48 {
			t.Errorf("waited %v, asked %d, unread %d", d, e.asked.Load(), unread)
		}
		if fs := s.Call("d")(user("0.45 next")); rules(fs) != "" {
			t.Errorf("the next call: %v", fs)
		}
	})
}

func TestABreakerOpensAndTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		e, tr := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if !up.Load() {
				w.WriteHeader(503)
				return
			}
			says("safe")(w, r)
		})
		s := second(t, tr, nil)
		n := 0
		ask := func() string { n++; return rules(s.Detect(user(fmt.Sprintf("0.45 %d", n)))) }
		for range 20 {
			if got := ask(); got != RuleUnavailable {
				t.Fatal(got)
			}
		}
		if e.asked.Load() != breakAfter || s.Stats().Breaker != 20-breakAfter {
			t.Fatalf("asked %d, %+v", e.asked.Load(), s.Stats())
		}
		time.Sleep(restFirst + restFirst/4)
		ask()
		ask()
		if e.asked.Load() != breakAfter+1 {
			t.Fatalf("asked %d: not one trial", e.asked.Load())
		}
		up.Store(true)
		time.Sleep(restFirst) // the rest is twice as long now
		ask()
		if e.asked.Load() != breakAfter+1 {
			t.Fatal("the rest did not grow")
		}
		time.Sleep(2 * restFirst)
		if got := ask() + ask(); got != "" || e.asked.Load() != breakAfter+3 {
			t.Fatalf("%q, asked %d", got, e.asked.Load())
		}
	})
}

// A text whose answer is neither yes nor no cannot open the breaker for everybody else's.
func TestOddAnswersDoNotOpenTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, tr := serve(t, says("I shall not say."))
		s := second(t, tr, nil)
		for i := range 3 * breakAfter {
			s.Detect(user(fmt.Sprintf("0.45 %d", i)))
		}
		if e.asked.Load() != 3*breakAfter {
			t.Errorf("asked %d", e.asked.Load())
		}
	})
}

func TestTheBudgetHoldsInEveryMinute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		per := rapid.IntRange(1, 20).Draw(t, "per minute")
		b, now := newBudget(per), time.Unix(1e9, 0)
		var took []time.Time
		for range 200 {
			now = now.Add(time.Duration(rapid.IntRange(0, 20000).Draw(t, "ms")) * time.Millisecond)
			recent := 0
			for _, at := range took {
				if now.Sub(at) < time.Minute {
					recent++
				}
			}
			ok := b.take(now)
			if ok != (recent < per) {
				t.Fatalf("took %v with %d of %d in the last minute", ok, recent, per)
			}
			if ok {
				took = append(took, now)
			}
		}
	})
}

func TestASpentBudgetAsksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, tr := serve(t, says("safe"))
		s := second(t, tr, func(o *Options) { o.PerMinute = 3 })
		got := ""
		for i := range 5 {
			got += rules(s.Detect(user(fmt.Sprintf("0.45 %d", i)))) + ","
		}
		if got != ",,,"+RuleUnavailable+","+RuleUnavailable+"," || e.asked.Load() != 3 || s.Stats().Budget != 2 {
			t.Errorf("%s asked %d %+v", got, e.asked.Load(), s.Stats())
		}
		if s.Detect(user("0.45 1")); s.Stats().Remembered != 1 {
			t.Error("what was answered is asked again")
		}
		time.Sleep(time.Minute)
		if fs := s.Detect(user("0.45 later")); rules(fs) != "" {
			t.Errorf("after a minute: %v", fs)
		}
	})
}

func TestAtMostSoManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		e, tr := serve(t, func(w http.ResponseWriter, r *http.Request) {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(50 * time.Millisecond)
			now.Add(-1)
			says("safe")(w, r)
		})
		s := second(t, tr, func(o *Options) { o.AtOnce = 2 })
		for i := range 10 {
			go s.Detect(user(fmt.Sprintf("0.45 %d", i)))
		}
		time.Sleep(time.Second)
		if most.Load() != 2 || e.asked.Load() != 2 || s.Stats().Budget != 8 {
			t.Errorf("at once %d, asked %d, %+v", most.Load(), e.asked.Load(), s.Stats())
		}
	})
}

func TestMemoryIsBoundedAndKeepsTheNewest(t *testing.T) {
	m := newMemory(3)
	key := func(i int) [32]byte { return keyOf(fmt.Append(nil, i)) }
	for i := range 10 {
		m.put(key(i), i%2 == 0)
		m.put(key(i), i%2 == 0)
	}
	if len(m.answers) != 3 {
		t.Fatalf("%d answers", len(m.answers))
	}
	for i := 7; i < 10; i++ {
		if yes, ok := m.get(key(i)); !ok || yes != (i%2 == 0) {
			t.Errorf("%d: %v %v", i, yes, ok)
		}
	}
}

// A call does not wait; its answer is reported under its id, and the same text is found from then on.
func TestAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const text = "0.45 never to be logged"
		e, tr := serve(t, func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			time.Sleep(time.Second) // longer than the deadline of a call
			switch {
			case bytes.Contains(b, []byte("odd")):
				says("what?")(w, r)
			case bytes.Contains(b, []byte("never")):
				says("unsafe")(w, r)
			default:
				says("safe")(w, r)
			}
		})
		var log bytes.Buffer
		var got []string
		s := second(t, tr, func(o *Options) {
			o.After, o.AtOnce = true, 1
			o.Log = slog.New(slog.NewTextHandler(&log, nil))
			o.Report = func(r Report) { got = append(got, r.Call+" "+r.Answer) }
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { s.Run(ctx); close(ended) }()
		began := time.Now()
		buf := []byte(text)
		for i, b := range [][]byte{buf, buf, []byte("0.45 fine"), []byte("0.45 odd")} {
			if fs := s.Call(fmt.Sprint("call", i))(&gate.Segment{Text: b}); rules(fs) != RulePending || fs[0].Category != gate.Unread {
				t.Errorf("%d: %v", i, fs)
			}
		}
		clear(buf) // the proxy takes its buffer back
		if time.Since(began) != 0 {
			t.Error("a call waited")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := "call0 attack,call1 attack,call2 no_attack,call3 unanswered"; strings.Join(got, ",") != want || e.asked.Load() != 3 {
			t.Errorf("%v, asked %d", got, e.asked.Load())
		}
		if rules(s.Detect(user(text))) != RuleYes || rules(s.Detect(user("0.45 fine"))) != "" {
			t.Error("what was answered is not known")
		}
		if strings.Contains(log.String(), "never") || !strings.Contains(log.String(), "id=call0") {
			t.Errorf("log: %s", log.String())
		}
		// What waits when the gateway ends is reported, and nothing is taken any more.
		got = nil
		s.Call("busy")(user("0.45 a"))
		synctest.Wait()
		s.Call("waits")(user("0.45 b"))
		cancel()
		<-ended
		if strings.Join(got, ",") != "busy unanswered,waits unanswered" {
			t.Errorf("%v", got)
		}
		if rules(s.Detect(user("0.45 c"))) != RuleUnavailable {
			t.Error("a question was taken after the end")
		}
		time.Sleep(time.Second) // the endpoint is still at it
	})
}

// Where a call waits its reader catches a panic; nobody else would here.
func TestAPanicAfterwardsIsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reports := make(chan Report, 2)
		s := second(t, panics{}, func(o *Options) { o.After, o.Report = true, func(r Report) { reports <- r } })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.Run(ctx)
		for i := range 2 {
			s.Call("c")(user(fmt.Sprintf("0.45 %d", i)))
			if r := <-reports; r.Answer != "unanswered" {
				t.Errorf("%+v", r)
			}
		}
	})
}

type panics struct{}

func (panics) RoundTrip(*http.Request) (*http.Response, error) { panic("torn") }

func TestAFullQueueDropsAndSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, tr := serve(t, says("safe"))
		s := second(t, tr, func(o *Options) { o.After, o.Queue = true, 2 })
		got := ""
		for i := range 3 { // nobody runs
			got += rules(s.Detect(user(fmt.Sprintf("0.45 %d", i)))) + ","
		}
		if got != RulePending+","+RulePending+","+RuleUnavailable+"," || s.Stats().Dropped != 1 || e.dials.Load() != 0 {
			t.Errorf("%s %+v", got, s.Stats())
		}
	})
}

func TestVersionNamesWhatAnAnswerDependsOn(t *testing.T) {
	seen := map[string]int{}
	for i, change := range []func(*Options){
		nil, func(o *Options) { o.URL += "/x" }, func(o *Options) { o.Model = "other" }, func(o *Options) { o.Protocol = Moderation },
		func(o *Options) { o.Low = 0.1; o.High = 0.6 }, func(o *Options) { o.After = true }, func(o *Options) { o.MaxText = 9 },
	} {
		v := second(t, http.DefaultTransport, change).Version()
		if j, ok := seen[v]; ok || !strings.HasPrefix(v, "first") {
			t.Errorf("%d and %d: %s", i, j, v)
		}
		seen[v] = i
	}
}

func TestWhatCannotBeMade(t *testing.T) {
	for i, change := range []func(*Options){
		func(o *Options) { o.First = nil }, func(o *Options) { o.Transport = nil }, func(o *Options) { o.Protocol = "" },
		func(o *Options) { o.URL = "file:///etc" }, func(o *Options) { o.URL = "" }, func(o *Options) { o.Low, o.High = 0.6, 0.3 },
		func(o *Options) { o.High = 2 }, func(o *Options) { o.Deadline = -1 }, func(o *Options) { o.PerMinute = -1 },
	} {
		o := Options{First: first{}, Transport: http.DefaultTransport, URL: "http://guard.test/", Protocol: Chat}
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%d was made", i)
		}
	}
}
