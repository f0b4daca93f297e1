package quota_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata" // zones with summer time, on a machine that has none

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam/quota"
)

// until sleeps to a moment of the bubble's clock, which begins on 1 January 2000.
func until(t *testing.T, at string) {
	t.Helper()
	m, err := time.Parse(time.RFC3339Nano, at)
	if err != nil || !m.After(time.Now()) {
		t.Fatalf("%s: %v", at, err)
	}
	time.Sleep(time.Until(m))
}

// A budget of a calendar month: what a caller is told of it, over month ends, a leap day, the end of a year
// and the changes to and from summer time of wherever the gateway stands.
func TestAMonthByTheCalendar(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati"} {
		t.Run(zone, func(t *testing.T) {
			place, err := time.LoadLocation(zone)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				e, _ := quota.New(quota.Options{Now: func() time.Time { return time.Now().In(place) }})
				b := one("s", quota.Requests, 1, quota.Month)
				s, _ := quota.NewStage(quota.StageOptions{Engine: e, Bounds: func(*gate.Exchange) (*quota.Prepared, error) { return quota.Prepare(b) }})
				call := func() (*gate.Problem, http.Header) {
					x := &gate.Exchange{Record: &gate.Record{}}
					d, err := s.Admit(t.Context(), x)
					if err != nil {
						t.Fatal(err)
					}
					if d.Denied() {
						return d.Problem, nil
					}
					s.Settle(x)
					return nil, s.Announce(x)
				}
				for _, c := range []struct {
					at   string
					pass bool
					left time.Duration // until the month ends
				}{
					{"2000-01-31T23:59:59.5Z", true, time.Second / 2},
					{"2000-01-31T23:59:59.998Z", false, 2 * time.Millisecond},
					{"2000-02-01T00:00:00Z", true, 29 * 24 * time.Hour},
					{"2000-02-28T23:59:59Z", false, 24*time.Hour + time.Second}, // a leap day follows
					{"2000-02-29T23:59:59Z", false, time.Second},
					{"2000-03-01T00:00:00Z", true, 31 * 24 * time.Hour},
					{"2000-03-26T00:59:59Z", false, 5*24*time.Hour + 23*time.Hour + time.Second}, // summer time begins in Berlin
					{"2000-03-26T01:00:00Z", false, 5*24*time.Hour + 23*time.Hour},
					{"2000-03-31T22:00:00Z", false, 2 * time.Hour}, // April in Berlin
					{"2000-04-02T07:00:00Z", true, 28*24*time.Hour + 17*time.Hour},
					{"2000-10-29T05:59:59Z", true, 2*24*time.Hour + 18*time.Hour + time.Second}, // it ends in New York
					{"2000-12-31T23:59:59Z", true, time.Second},
					{"2000-12-31T23:59:59.75Z", false, time.Second / 4},
					{"2001-01-01T00:00:00Z", true, 31 * 24 * time.Hour},
					{"2001-02-28T12:00:00Z", true, 12 * time.Hour},
					{"2001-03-01T00:00:00Z", true, 31 * 24 * time.Hour},
				} {
					until(t, c.at)
					p, announced := call()
					if (p == nil) != c.pass {
						t.Fatalf("%s: %+v", c.at, p)
					}
					h := announced
					if p != nil {
						h = p.Header
						if p.RetryAfter != c.left || p.Code != gate.CodeBudget || p.Message != "The budget of requests per month (in UTC) is used up." {
							t.Errorf("%s: %+v", c.at, p)
						}
						if told := h.Get("X-Should-Retry") == "false"; told != (c.left > time.Minute) {
							t.Errorf("%s: X-Should-Retry: %v", c.at, told)
						}
					}
					want := fmt.Sprintf(`"requests-per-month";r=0;t=%d`, (c.left+time.Second-1)/time.Second)
					if h.Get("RateLimit") != want || h.Get("RateLimit-Policy") != `"requests-per-month";q=1` {
						t.Errorf("%s: %v, want %s", c.at, h, want)
					}
				}
			})
		})
	}
}

// A debt of months is paid off at a month's end, however long those months are.
func TestADebtOfMonths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := quota.New(quota.Options{})
		b := one("s", quota.Cost, 10, quota.Month)
		until(t, "2000-01-31T12:00:00Z")
		r, _, _ := e.Reserve(bg, b, quota.Amounts{Cost: 1})
		r.Settle(quota.Amounts{Cost: 35}) // January's, February's, March's, and half of April's
		_, ex, _ := e.Reserve(bg, b, quota.Amounts{Cost: 6})
		if want := time.Until(time.Date(2000, 5, 1, 0, 0, 0, 0, time.UTC)); ex == nil || ex.Retry != want || ex.Reset != 12*time.Hour {
			t.Fatalf("%+v, want %v", ex, want)
		}
		_, ex, _ = e.Reserve(bg, b, quota.Amounts{Cost: 5})
		if want := time.Until(time.Date(2000, 4, 1, 0, 0, 0, 0, time.UTC)); ex == nil || ex.Retry != want {
			t.Fatalf("%+v, want %v", ex, want)
		}
		time.Sleep(ex.Retry - 1)
		if _, ex, _ := e.Reserve(bg, b, quota.Amounts{Cost: 5}); ex == nil || ex.Retry != time.Millisecond {
			t.Errorf("a moment too early: %+v", ex)
		}
		time.Sleep(time.Nanosecond)
		if r, ex, _ := e.Reserve(bg, b, quota.Amounts{Cost: 5}); r == nil {
			t.Errorf("%+v", ex)
		}
		// One that would take for ever says a year at most.
		r, _, _ = e.Reserve(bg, one("x", quota.Cost, 1, quota.Month), quota.Amounts{Cost: 1})
		r.Settle(quota.Amounts{Cost: quota.MaxAmount})
		if _, ex, _ := e.Reserve(bg, one("x", quota.Cost, 1, quota.Month), quota.Amounts{Cost: 1}); ex == nil || ex.Retry < 330*24*time.Hour || ex.Retry > 366*24*time.Hour {
			t.Errorf("%+v", ex)
		}
	})
}

// What is written stays readable for the release before, which knows durations alone, unless it is a month.
func TestWindowsAsText(t *testing.T) {
	for in, want := range map[string]string{
		"second": "1s", "minute": "1m0s", "hour": "1h0m0s", "day": "24h0m0s", "month": "month", "1m": "1m0s", "24h": "24h0m0s", "720h": "720h0m0s", "1h30m": "1h30m0s",
	} {
		var w quota.Window
		if err := w.UnmarshalText([]byte(in)); err != nil {
			t.Errorf("%s: %v", in, err)
		}
		out, _ := w.MarshalText()
		if string(out) != want {
			t.Errorf("%s is written %s", in, out)
		}
		if in != "month" {
			if d, err := time.ParseDuration(string(out)); err != nil || d != time.Duration(w) {
				t.Errorf("%s: the release before reads %v, %v", in, d, err)
			}
		}
	}
	for _, in := range []string{"", "Month", "months", "month ", "1month", "1mo", "1M", "30d", "1d", "day1", "-1ns", "-24h", "0", "0s", "1.5s", "500ms", "1", "calendar_month", "9999999999h", "monat\x00"} {
		var v struct{ W quota.Window }
		if err := json.Unmarshal(fmt.Appendf(nil, `{"W":%q}`, in), &v); err == nil {
			t.Errorf("%q is %v", in, v.W)
		}
	}
}

func FuzzWindow(f *testing.F) {
	for _, s := range []string{"month", "day", "1m", "24h", "-1ns", "1h0m0.000000000s", "µs"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		w, err := quota.ParseWindow(s)
		if err != nil {
			return
		}
		if w != quota.Month && (w < quota.Second || w%quota.Second != 0) {
			t.Fatalf("%q is %d", s, int64(w))
		}
		text, _ := w.MarshalText()
		if again, err := quota.ParseWindow(string(text)); err != nil || again != w {
			t.Fatalf("%q is written %q, read %v, %v", s, text, again, err)
		}
	})
}
