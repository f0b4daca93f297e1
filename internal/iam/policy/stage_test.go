package policy

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

func TestStages(t *testing.T) {
	alice := principal(t, Who{Kind: KindUser, ID: "alice"})
	guard := func(texts ...string) *Guard {
		g := &Guard{Engine: &Engine{}, Now: func() time.Time { return noon }, Caller: func(*gate.Exchange) (Caller, error) {
			return Caller{Principal: alice, AMR: []string{"hwk"}, MFA: noon.Add(-time.Minute)}, nil
		}, ModelFree: func(*gate.Exchange) bool { return false }}
		g.Engine.Use(own(t, texts...))
		return g
	}
	all := `permit(principal, action, resource);`
	for name, c := range map[string]struct {
		texts         []string
		edit          func(*gate.Exchange)
		before, after bool
	}{
		"permitted":             {[]string{all}, nil, true, true},
		"nothing permits":       {[]string{`forbid(principal, action, resource);`}, nil, false, false},
		"what the stage knows":  {[]string{`permit(principal, action, resource == Model::"gpt-4o") when { context.upstream == "openai" && context.streamed && context.bytes == 4 && context.amr == ["hwk"] && context has mfa_age && context.mfa_age == 60 && context has ip && context.ip == ip("10.0.0.1") && context.channels == ["user", "tool"] && context.scopes_granted };`}, nil, true, true},
		"a leak, after":         {[]string{all, `forbid(principal, action, resource) when { context has data_classes && context.data_classes == ["secret"] };`}, nil, true, false},
		"an attack, after":      {[]string{all, `forbid(principal, action, resource) when { context has attacks && context.attacks.contains("injection") && context has found_in && context.found_in.contains("tool") };`}, nil, true, false},
		"risk, after":           {[]string{all, `forbid(principal, action, resource) when { context has risk && context.risk >= 91 };`}, nil, true, false},
		"excused, after":        {[]string{all, `forbid(principal, action, resource) when { context has data_classes && context.data_classes.contains("secret") };`}, func(x *gate.Exchange) { x.Record.Findings[0].Excused = "e" }, true, true},
		"of the answer, after":  {[]string{all, `forbid(principal, action, resource) when { context has data_classes && context.data_classes.contains("secret") };`}, func(x *gate.Exchange) { x.Record.Findings[0].Direction = gate.Answer }, true, true},
		"read, after":           {[]string{all, `forbid(principal, action, resource) when { context has unread && context.unread };`}, nil, true, true},
		"not read, after":       {[]string{all, `forbid(principal, action, resource) when { context has unread && context.unread };`}, func(x *gate.Exchange) { x.Record.Uninspected = make([]gate.Uninspected, 1) }, true, false},
		"more than is named":    {[]string{all, `forbid(principal, action, resource) when { context has unread && context.unread };`}, func(x *gate.Exchange) { x.Record.MoreFindings = 1 }, true, false},
		"unread in parts":       {[]string{all, `forbid(principal, action, resource) when { context has unread && context.unread };`}, func(x *gate.Exchange) { x.Record.Findings[0].Category = gate.Unread }, true, false},
		"a waiting permit":      {[]string{`permit(principal, action, resource) when { context has attacks && context.attacks.isEmpty() };`}, nil, true, false},
		"no record, no finding": {[]string{all, `forbid(principal, action, resource) unless { context has risk && context.risk < 99 };`}, func(x *gate.Exchange) { x.Record = nil }, true, false},
	} {
		g := guard(c.texts...)
		x := &gate.Exchange{Upstream: "openai", Endpoint: "chat.completions", ClientAddr: netip.MustParseAddr("10.0.0.1"), Body: []byte("body"),
			Reading: &gate.Reading{Model: "gpt-4o", Stream: true, Segments: []gate.Segment{{Channel: gate.ChannelUser}, {Channel: gate.ChannelTool}, {Channel: gate.ChannelUser}}},
			Record:  &gate.Record{Findings: []gate.Finding{{Category: gate.Secret, Score: 0.9, Channel: gate.ChannelUser}, {Category: gate.Injection, Score: 0.905, Channel: gate.ChannelTool}}}}
		if c.edit != nil {
			c.edit(x)
		}
		for _, s := range []struct {
			stage gate.Stage
			want  bool
		}{{g.Before(), c.before}, {g.After(), c.after}} {
			d, err := s.stage.Admit(context.Background(), x)
			if err != nil || d.Denied() == s.want {
				t.Errorf("%s, %s: %+v, %v", name, s.stage.Name(), d, err)
			}
			if d.Denied() && (d.Problem.Code != gate.CodeDenied || strings.Contains(d.Problem.Message, "p1") || d.Reason == "") {
				t.Errorf("%s: the caller is told %q, the record %q", name, d.Problem.Message, d.Reason)
			}
		}
	}
}

// Who cannot be named is a failure of ours, which closes.
func TestAStageWithoutACallerFails(t *testing.T) {
	for name, caller := range map[string]func(*gate.Exchange) (Caller, error){
		"an error": func(*gate.Exchange) (Caller, error) { return Caller{}, errors.New("away") },
		"nobody":   func(*gate.Exchange) (Caller, error) { return Caller{}, nil },
	} {
		g := &Guard{Engine: &Engine{}, Caller: caller}
		for _, monitor := range []bool{false, true} {
			p := gate.Pipeline{Stages: []gate.Stage{g.Before()}, Monitor: monitor}
			if d := p.Admit(context.Background(), &gate.Exchange{Record: &gate.Record{}}); !d.Denied() || d.Problem.Status != 503 {
				t.Errorf("%s: %+v", name, d)
			}
		}
	}
}
