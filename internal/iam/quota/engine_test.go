package quota_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam/quota"
)

// What a bound or an amount cannot be is an error, and closes.
func TestNonsenseIsAnError(t *testing.T) {
	e, _ := quota.New(quota.Options{})
	for _, b := range []quota.Bound{
		{Unit: 9, Amount: 1, Window: quota.Second},
		{Unit: quota.Tokens, Amount: -1, Window: quota.Second},
		{Unit: quota.Tokens, Amount: quota.MaxAmount + 1, Window: quota.Second},
		{Unit: quota.Tokens, Amount: 1},
		{Unit: quota.Tokens, Amount: 1, Window: 1},
		{Unit: quota.Tokens, Amount: 1, Window: -2},
		{Unit: quota.Concurrency, Amount: 1, Window: quota.Second},
	} {
		if r, ex, err := e.Reserve(context.Background(), []quota.Bound{b}, quota.Amounts{}); err == nil || r != nil || ex != nil {
			t.Errorf("%+v: %v %v", b, r, ex)
		}
	}
	if _, _, err := e.Reserve(context.Background(), make([]quota.Bound, quota.MaxBounds+1), quota.Amounts{}); err == nil {
		t.Error("any number of bounds")
	}
	if _, err := quota.New(quota.Options{Hold: -1}); err == nil {
		t.Error("a negative hold")
	}
	for _, s := range []string{"", "weeks", "1ms", "1.5s", "-1h", "0s"} {
		if w, err := quota.ParseWindow(s); err == nil {
			t.Errorf("%q is %v", s, w)
		}
	}
}

var bg = context.Background()

func one(subject string, u quota.Unit, n int64, w quota.Window) []quota.Bound {
	return []quota.Bound{{Subject: subject, Unit: u, Amount: n, Window: w}}
}

// The edges of each window: its last nanosecond counts, the next one is fresh.
func TestWindowEdges(t *testing.T) {
	for _, c := range []struct {
		w    quota.Window
		last string
	}{
		{quota.Second, "2026-02-28T23:59:59.999999999Z"}, {quota.Minute, "2026-02-28T23:59:59.999999999Z"}, {quota.Hour, "2026-02-28T23:59:59.999999999Z"},
		{quota.Day, "2026-02-28T23:59:59.999999999Z"}, {quota.Month, "2026-02-28T23:59:59.999999999Z"}, {quota.Month, "2028-02-29T23:59:59.999999999Z"},
		{quota.Month, "2026-12-31T23:59:59.999999999Z"}, {90 * quota.Second, "2026-01-01T00:01:29.999999999Z"},
	} {
		last, _ := time.Parse(time.RFC3339Nano, c.last)
		k := &clock{last.In(time.FixedZone("far", 14*3600))}
		e, _ := quota.New(quota.Options{Now: k.now})
		b := one("s", quota.Requests, 1, c.w)
		if r, _, _ := e.Reserve(bg, b, quota.Amounts{Requests: 1}); r == nil {
			t.Fatalf("%v: refused", c.w)
		}
		if _, ex, _ := e.Reserve(bg, b, quota.Amounts{Requests: 1}); ex == nil || ex.Reset != 1 {
			t.Errorf("%v: %+v", c.w, ex)
		}
		k.t = k.t.Add(1)
		if r, _, _ := e.Reserve(bg, b, quota.Amounts{Requests: 1}); r == nil {
			t.Errorf("%v: the new window is not fresh", c.w)
		}
	}
}

// A lost call has used what was reserved for it; its place is free when its deadline is over, not before.
func TestALostCall(t *testing.T) {
	k := &clock{time.Unix(1e9, 0)}
	e, _ := quota.New(quota.Options{Now: k.now, Hold: time.Minute})
	b := append(one("s", quota.Tokens, 100, quota.Day), one("s", quota.Concurrency, 1, 0)...)
	lost, _, _ := e.Reserve(bg, b, quota.Amounts{Tokens: 60})
	k.t = k.t.Add(time.Minute - 1)
	if _, ex, _ := e.Reserve(bg, b, quota.Amounts{Tokens: 1}); ex == nil || ex.Bound.Unit != quota.Concurrency {
		t.Errorf("its place is taken: %+v", ex)
	}
	k.t = k.t.Add(1)
	if _, ex, _ := e.Reserve(bg, b, quota.Amounts{Tokens: 41}); ex == nil || ex.Bound.Unit != quota.Tokens || ex.Remaining != 40 {
		t.Errorf("what it may have used is given out again: %+v", ex)
	}
	r, ex, _ := e.Reserve(bg, b, quota.Amounts{Tokens: 40})
	if r == nil {
		t.Fatal(ex)
	}
	// It was not lost after all: nothing comes back, what is more counts, and the other keeps its place.
	if !lost.Settle(quota.Amounts{Tokens: 10}) || e.Used(b[0]) != 100 || e.Used(b[1]) != 1 {
		t.Errorf("used %d, %d at once", e.Used(b[0]), e.Used(b[1]))
	}
}

// A debt is paid off window by window, and Retry says when.
func TestADebtIsPaidOff(t *testing.T) {
	k := &clock{time.Unix(600, 0)}
	e, _ := quota.New(quota.Options{Now: k.now})
	b := one("s", quota.Cost, 10, quota.Minute)
	r, _, _ := e.Reserve(bg, b, quota.Amounts{Cost: 1})
	r.Settle(quota.Amounts{Cost: 35})
	_, ex, _ := e.Reserve(bg, b, quota.Amounts{Cost: 5})
	if ex == nil || ex.Retry != 3*time.Minute {
		t.Fatalf("%+v", ex)
	}
	k.t = k.t.Add(ex.Retry - 1)
	if _, ex, _ := e.Reserve(bg, b, quota.Amounts{Cost: 5}); ex == nil {
		t.Error("sooner than said")
	}
	k.t = k.t.Add(1)
	if _, ex, _ := e.Reserve(bg, b, quota.Amounts{Cost: 5}); ex != nil {
		t.Errorf("%+v", ex)
	}
}

// One account under two amounts is charged once and fits both.
func TestTheSmallerOfTwoAmountsHolds(t *testing.T) {
	for _, order := range [][]int64{{5, 9}, {9, 5}} {
		e, _ := quota.New(quota.Options{Now: (&clock{time.Unix(1e9, 0)}).now})
		b := append(one("s", quota.Requests, order[0], quota.Day), one("s", quota.Requests, order[1], quota.Day)...)
		n := 0
		for range 20 {
			if r, _, _ := e.Reserve(bg, b, quota.Amounts{Requests: 1}); r != nil {
				n++
			}
		}
		if n != 5 {
			t.Errorf("%v: %d passed", order, n)
		}
	}
}

// The memory of idle subjects is given back, and what is still owed is not.
func TestIdleSubjectsAreForgotten(t *testing.T) {
	k := &clock{time.Unix(1e9, 0)}
	e, _ := quota.New(quota.Options{Now: k.now})
	for i := range 20000 {
		_, _, _ = e.Reserve(bg, one(fmt.Sprint("key:", i), quota.Requests, 5, quota.Minute), quota.Amounts{Requests: 1})
	}
	r, _, _ := e.Reserve(bg, one("debtor", quota.Cost, 5, quota.Minute), quota.Amounts{Cost: 1})
	r.Settle(quota.Amounts{Cost: 5000})
	c, _, _ := e.Reserve(bg, one("busy", quota.Concurrency, 5, 0), quota.Amounts{})
	e.Sweep()
	if e.Accounts() != 20002 {
		t.Errorf("%d accounts within the window", e.Accounts())
	}
	k.t = k.t.Add(time.Minute)
	e.Sweep()
	if e.Accounts() != 2 {
		t.Errorf("%d accounts after it", e.Accounts())
	}
	k.t = k.t.Add(-time.Minute)
	if _, ex, _ := e.Reserve(bg, one("key:1", quota.Requests, 0, quota.Minute), quota.Amounts{Requests: 1}); ex == nil {
		t.Error("nothing is allowed, and passed")
	}
	c.Release()
}

// What a caller's bounds remember of their accounts holds through a sweep, and is not believed by another engine.
func TestPreparedBoundsAreNotBelievedTooLong(t *testing.T) {
	c := &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	e, _ := quota.New(quota.Options{Now: c.now})
	other, _ := quota.New(quota.Options{Now: c.now})
	b := quota.Bound{Subject: "key:a", Unit: quota.Requests, Amount: 2, Window: quota.Minute}
	p, err := quota.Prepare([]quota.Bound{b, b})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for i := range 3 {
			r, ex, err := e.ReservePrepared(context.Background(), p, quota.Amounts{Requests: 1})
			if err != nil || (r != nil) != (i < 2) || (ex == nil) != (i < 2) || e.Used(b) != int64(min(i+1, 2)) {
				t.Fatalf("call %d: %v %v %v, used %d", i, r, ex, err, e.Used(b))
			}
		}
		if _, ex, _ := other.ReservePrepared(context.Background(), p, quota.Amounts{Requests: 3}); ex == nil || other.Used(b) != 0 || e.Used(b) != 2 {
			t.Fatal("charged to another engine's account")
		}
		c.t = c.t.Add(2 * time.Minute)
		if e.Sweep(); e.Accounts() != 0 {
			t.Fatal("not swept")
		}
	}
}
