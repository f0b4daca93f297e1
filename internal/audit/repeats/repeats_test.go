package repeats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// paper is a record that may be full.
type paper struct {
	mu    sync.Mutex
	full  bool
	notes []map[string]string
}

func (p *paper) Note(_ context.Context, event string, f map[string]string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full {
		return errors.New("full")
	}
	n := map[string]string{"": event}
	for k, v := range f {
		n[k] = v
	}
	p.notes = append(p.notes, n)
	return nil
}

// sum is how many refusals the record accounts for, and how many events it has for them.
func (p *paper) sum(t interface{ Fatal(...any) }) (refusals, events int) {
	for _, n := range p.notes {
		events++
		switch n[""] {
		case EventBegin:
		case EventCount:
			c, err := strconv.Atoi(n["count"])
			if err != nil || n["since"] == "" || n["until"] == "" || n["since"] > n["until"] {
				t.Fatal(n)
			}
			refusals += c
		default:
			refusals++
		}
	}
	return refusals, events
}

var ctx = context.Background()

func wrong(user, ip string) (string, map[string]string) {
	return "signin.password", map[string]string{"ok": "false", "reason": "wrong password", "user": user, "tenant": "default", "ip": ip}
}

// Whatever comes, from however many sources, over however many windows, and however often the record is
// full: each refusal that was taken is accounted for once, and each that was not was refused to its caller.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
		p := &paper{}
		r := New(p, func() time.Time { return now })
		taken := 0
		for range rapid.IntRange(1, 400).Draw(rt, "steps") {
			switch rapid.IntRange(0, 20).Draw(rt, "what") {
			case 0:
				now = now.Add(time.Duration(rapid.IntRange(-5, 90).Draw(rt, "s")) * time.Second)
			case 1:
				p.full = !p.full
			case 2:
				_ = r.Flush(ctx)
			default:
				e, f := wrong(fmt.Sprint(rapid.IntRange(0, 3).Draw(rt, "user")), fmt.Sprintf("10.0.%d.7", rapid.IntRange(0, 2).Draw(rt, "net")))
				for range rapid.IntRange(1, 30).Draw(rt, "times") {
					if r.Note(ctx, e, f) == nil {
						taken++
					}
				}
			}
		}
		p.full = false
		if err := r.Close(ctx); err != nil {
			rt.Fatal(err)
		}
		if got, _ := p.sum(rt); got != taken {
			rt.Fatalf("%d were taken, the record accounts for %d", taken, got)
		}
	})
}

// A flood from everywhere costs a bounded number of events in a window; the first of each source are there.
func TestTheRecordIsBounded(t *testing.T) {
	now := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	p := &paper{}
	r := New(p, func() time.Time { return now })
	const n = 100_000
	for i := range n {
		e, f := wrong(fmt.Sprint("user_", i%5), fmt.Sprintf("10.%d.%d.7", i%200, i%250))
		if err := r.Note(ctx, e, f); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(ctx); err != nil {
		t.Fatal(err)
	}
	got, events := p.sum(t)
	if got != n || events > Listed+Sources+3 {
		t.Errorf("%d refusals in %d events", got, events)
	}
	t.Logf("%d refusals are %d events", got, events)
	if p.notes[0][""] != "signin.password" || p.notes[0]["ip"] != "10.0.0.7" {
		t.Errorf("the first: %v", p.notes[0])
	}
}

func TestOneSource(t *testing.T) {
	now := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	p := &paper{}
	r := New(p, func() time.Time { return now })
	for range 25 {
		e, f := wrong("user_a", "203.0.113.9")
		check(t, r.Note(ctx, e, f))
		now = now.Add(time.Second)
	}
	check(t, r.Flush(ctx)) // the window is not over: nothing yet
	if len(p.notes) != First+1 || p.notes[First][""] != EventBegin {
		t.Fatalf("%v", p.notes)
	}
	now = now.Add(Window)
	check(t, r.Flush(ctx))
	last := p.notes[len(p.notes)-1]
	for k, v := range map[string]string{"": EventCount, "count": "15", "event": "signin.password", "reason": "wrong password", "user": "user_a", "tenant": "default",
		"source": "203.0.113.0/24", "since": "2031-02-03T04:05:16Z", "until": "2031-02-03T04:05:30Z"} {
		if last[k] != v {
			t.Errorf("%q: %q, want %q", k, last[k], v)
		}
	}
	e, f := wrong("user_a", "203.0.113.9")
	check(t, r.Note(ctx, e, f))
	if n := p.notes[len(p.notes)-1]; n[""] != e {
		t.Errorf("a new window does not list: %v", n)
	}
}

// What succeeds, what changes something and what is not a refusal is listed, however often.
func TestWhatIsAlwaysListed(t *testing.T) {
	p := &paper{}
	r := New(p, nil)
	for name, f := range map[string]map[string]string{
		"signin.password":       {"ok": "true"},
		"signin.done":           {"ok": "true"},
		"admin.signin.password": {"phase": "done"},
		"admin.keys.create":     {"phase": "intent"},
		"admin.keys.delete":     {"phase": "failed"},
		"scim.users.create":     {"phase": "intent"},
		"start":                 {},
		"password.changed":      {"ok": "true"},
	} {
		p.notes = nil
		for range 500 {
			check(t, r.Note(ctx, name, f))
		}
		if len(p.notes) != 500 {
			t.Errorf("%s %v: %d of 500", name, f, len(p.notes))
		}
	}
}

func TestWhatIsCounted(t *testing.T) {
	for _, c := range []struct {
		event string
		f     map[string]string
	}{
		{"admin.denied", map[string]string{"operation": "keys.list", "ip": "10.0.0.1"}},
		{"admin.denied", map[string]string{"operation": "keys.list", "actor": "user_a", "tenant": "acme"}},
		{"scim.denied", map[string]string{"ip": "2001:db8::7"}},
		{"admin.signin.password", map[string]string{"phase": "intent", "ip": "10.0.0.1"}},
		{"admin.signin.second", map[string]string{"phase": "failed", "ip": "10.0.0.1"}},
		{"signin.second", map[string]string{"ok": "false", "reason": "wrong code"}},
		{"break_glass.used", map[string]string{"ok": "false", "reason": "signin.password"}},
	} {
		p := &paper{}
		r := New(p, nil)
		for i := range 500 {
			c.f["id"] = fmt.Sprint("ev_", i) // what differs every time makes no source
			check(t, r.Note(ctx, c.event, c.f))
		}
		check(t, r.Close(ctx))
		if n, events := p.sum(t); n != 500 || events != First+2 {
			t.Errorf("%s %v: %d in %d events", c.event, c.f, n, events)
		}
	}
}

// While the record cannot be written nobody is counted: each caller is told.
func TestAFullRecord(t *testing.T) {
	now := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	p := &paper{full: true}
	r := New(p, func() time.Time { return now })
	for range 50 {
		if e, f := wrong("u", "10.0.0.1"); r.Note(ctx, e, f) == nil {
			t.Fatal("taken")
		}
	}
	p.full = false
	e, f := wrong("u", "10.0.0.1")
	for range 50 {
		check(t, r.Note(ctx, e, f))
	}
	p.full = true
	now = now.Add(Window)
	if r.Flush(ctx) == nil {
		t.Error("counts were written to a full record")
	}
	p.full = false
	check(t, r.Close(ctx))
	if n, _ := p.sum(t); n != 50 {
		t.Errorf("%d of 50", n)
	}
}

func TestRunWritesByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &paper{}
		r := New(p, nil)
		ctx, stop := context.WithCancel(t.Context())
		go r.Run(ctx)
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				for range 100 {
					e, f := wrong("u", fmt.Sprintf("10.0.%d.1", i))
					check(t, r.Note(ctx, e, f))
				}
			})
		}
		all.Wait()
		time.Sleep(Window + Window/12)
		synctest.Wait()
		if n, events := p.sum(t); n != 400 || events > 4*First+5 {
			t.Errorf("%d in %d events", n, events)
		}
		stop()
		synctest.Wait()
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNetworks(t *testing.T) {
	for in, want := range map[string]string{"": "", "x": "", "10.1.2.3": "10.1.2.0/24", "::ffff:10.1.2.3": "10.1.2.0/24", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64"} {
		if got := network(in); got != want || strings.Contains(got, "%") {
			t.Errorf("%q: %q", in, got)
		}
	}
}
