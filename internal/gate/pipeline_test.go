package gate

import (
	"context"
	"errors"
	"strings"
	"testing"
)

type stage struct {
	name string
	do   func() (Decision, error)
	ran  *[]string
}

func (s stage) Name() string { return s.name }
func (s stage) Admit(context.Context, *Exchange) (Decision, error) {
	*s.ran = append(*s.ran, s.name)
	return s.do()
}

func allow() (Decision, error) { return Decision{}, nil }

func TestPipelineEndsAtTheFirstDenial(t *testing.T) {
	var ran []string
	deny := func() (Decision, error) { return Deny(&Problem{Status: 403, Code: CodeDenied}, "no"), nil }
	p := &Pipeline{Stages: []Stage{stage{"a", allow, &ran}, stage{"b", deny, &ran}, stage{"c", allow, &ran}}}
	d := p.Admit(context.Background(), &Exchange{Record: &Record{}})
	if !d.Denied() || d.Stage != "b" || d.Problem.Code != CodeDenied {
		t.Fatalf("got %+v", d)
	}
	if got := strings.Join(ran, ""); got != "ab" {
		t.Fatalf("ran %q, want a and b only", got)
	}
}

func TestPipelineKeepsTheWorstVerdictThatPasses(t *testing.T) {
	var ran []string
	say := func(a Action) func() (Decision, error) {
		return func() (Decision, error) { return Decision{Verdict: a}, nil }
	}
	p := &Pipeline{Stages: []Stage{stage{"a", say(Flag), &ran}, stage{"b", say(Sanitize), &ran}, stage{"c", say(Flag), &ran}}}
	if d := p.Admit(context.Background(), &Exchange{Record: &Record{}}); d.Verdict != Sanitize || d.Stage != "b" {
		t.Fatalf("got %+v", d)
	}
}

// Every failure a stage can have, by the table: closed gives the row's own answer, open goes on and
// leaves a trace.
func TestStageFailuresFollowTheTable(t *testing.T) {
	for _, row := range Failures {
		for _, monitor := range []bool{false, true} {
			for _, how := range []string{"error", "panic"} {
				var ran []string
				err := Fail(row.Failure, errors.New("broken"))
				broken := func() (Decision, error) {
					if how == "panic" {
						panic(err)
					}
					return Decision{}, err
				}
				told := 0
				p := &Pipeline{
					Stages:  []Stage{stage{"broken", broken, &ran}, stage{"next", allow, &ran}},
					Monitor: monitor, Fault: func(*Exchange, string, error) { told++ },
				}
				x := &Exchange{Record: &Record{}}
				d := p.Admit(context.Background(), x)
				open := row.Default == Open || (monitor && row.Alternative == "inspect.mode: monitor")
				if told != 1 {
					t.Errorf("%s/%s: the fault was told %d times", row.Failure, how, told)
				}
				if open {
					if d.Denied() || len(ran) != 2 || len(x.Record.Uninspected) != 1 {
						t.Errorf("%s/%s monitor=%v: should open with a trace, got %+v, uninspected %v", row.Failure, how, monitor, d, x.Record.Uninspected)
					}
					continue
				}
				if !d.Denied() || d.Problem.Status != row.Status || d.Problem.Code != row.Code || len(ran) != 1 {
					t.Errorf("%s/%s monitor=%v: should close with %d %s, got %+v", row.Failure, how, monitor, row.Status, row.Code, d)
				}
			}
		}
	}
}

func TestAnUnmarkedErrorAndAPlainPanicCloseAsOurFault(t *testing.T) {
	var ran []string
	for name, do := range map[string]func() (Decision, error){
		"error": func() (Decision, error) { return Decision{}, errors.New("x") },
		"panic": func() (Decision, error) { panic("x") },
		"nil dereference": func() (Decision, error) {
			var p *Problem
			return Decision{Reason: p.Message}, nil
		},
	} {
		p := &Pipeline{Stages: []Stage{stage{"s", do, &ran}}, Monitor: true}
		d := p.Admit(context.Background(), &Exchange{Record: &Record{}})
		if !d.Denied() || d.Problem.Status != 500 || d.Problem.Code != CodeInternal {
			t.Errorf("%s: got %+v", name, d)
		}
	}
}

func TestFailureTableIsWhole(t *testing.T) {
	seen := map[Failure]bool{}
	for _, r := range Failures {
		if seen[r.Failure] {
			t.Errorf("%s stands twice", r.Failure)
		}
		seen[r.Failure] = true
		if r.Effect == "" {
			t.Errorf("%s says nothing about its effect", r.Failure)
		}
		if r.Default == Closed && (r.Status < 400 || r.Code == "" || r.Message == "") {
			t.Errorf("%s closes without an answer", r.Failure)
		}
	}
	if r := Failure("unheard of").Row(); r.Default != Closed || r.Status != 500 {
		t.Errorf("an unknown failure must close, got %+v", r)
	}
}

func TestNamesAreInverses(t *testing.T) {
	for _, c := range Channels() {
		if got, ok := ParseChannel(c.String()); !ok || got != c {
			t.Errorf("channel %v", c)
		}
	}
	for _, k := range UninspectedKinds() {
		if got, ok := ParseUninspectedKind(k.String()); !ok || got != k {
			t.Errorf("kind %v", k)
		}
	}
	for a := Allow; a <= Block; a++ {
		if got, ok := ParseAction(a.String()); !ok || got != a {
			t.Errorf("action %v", a)
		}
	}
	for _, s := range []string{"", "nobody", "User", "unknown"} {
		if _, ok := ParseChannel(s); ok {
			t.Errorf("%q is no channel", s)
		}
		if _, ok := ParseAction(s); ok {
			t.Errorf("%q is no action", s)
		}
	}
}
