package approval

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// people is a directory: who is in it is active, who is in may may approve.
type people struct {
	all map[string]Person
	may map[string]bool
	err error
}

func (d *people) Person(_ context.Context, id string) (Person, error) {
	p, ok := d.all[id]
	if !ok {
		return Person{}, errors.New("nobody")
	}
	return p, d.err
}

func (d *people) MayApprove(_ context.Context, p Person, tenant, action string) (bool, error) {
	return d.may[p.ID] && tenant == "acme" && action == "write:inspect_mode", d.err
}

var ctx = context.Background()

func service() (*Service, *people, *time.Time) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	d := &people{all: map[string]Person{}, may: map[string]bool{"ann": true, "bob": true, "ann2": true, "ann3": true, "gone": true}}
	for _, p := range []Person{
		{ID: "ann", Logins: []Login{{"https://idp", "1"}}, Mail: "ann@acme.example"}, {ID: "bob", Logins: []Login{{"https://idp", "2"}}, Mail: "bob@acme.example"},
		{ID: "ann2", Logins: []Login{{"https://other", "x"}, {"https://idp", "1"}}}, {ID: "ann3", Mail: "ann@acme.example"}, {ID: "eve"}, {ID: "gone"},
	} {
		p.Tenant, p.Active = "acme", p.ID != "gone"
		d.all[p.ID] = p
	}
	return &Service{Store: &Memory{}, People: d, Life: time.Hour, Now: func() time.Time { return now }}, d, &now
}

func asked(t *testing.T, s *Service) Change {
	t.Helper()
	c, err := s.Ask(ctx, "ann", "acme", "write:inspect_mode", "gateway", []byte("monitor"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnotherPersonApproves(t *testing.T) {
	s, _, _ := service()
	c := asked(t, s)
	if _, err := s.Redeem(ctx, "ann", "acme", c.ID, []byte("monitor")); !errors.Is(err, ErrState) {
		t.Fatalf("redeemed unapproved: %v", err)
	}
	if c, err := s.Approve(ctx, "bob", "acme", c.ID); err != nil || c.State != Approved || c.Decided != "bob" {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := s.Redeem(ctx, "ann", "acme", c.ID, []byte("monitor")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Redeem(ctx, "ann", "acme", c.ID, []byte("monitor")); !errors.Is(err, ErrState) {
		t.Errorf("redeemed twice: %v", err)
	}
	if _, err := s.Approve(ctx, "bob", "acme", c.ID); !errors.Is(err, ErrState) {
		t.Errorf("approved again: %v", err)
	}
}

func TestWhoMayNotApprove(t *testing.T) {
	for who, want := range map[string]error{
		"ann":  ErrSelf,
		"ann2": ErrSelf, // another account of the same login
		"ann3": ErrSelf, // another account of the same verified address
		"eve":  ErrMayNot,
		"gone": ErrMayNot,
	} {
		s, _, _ := service()
		c := asked(t, s)
		if _, err := s.Approve(ctx, who, "acme", c.ID); !errors.Is(err, want) {
			t.Errorf("%s: %v", who, err)
		}
		if c, _ := s.Store.Get(ctx, "acme", c.ID); c.State != Pending {
			t.Errorf("%s: it is %s", who, c.State)
		}
	}
	s, _, _ := service()
	c := asked(t, s)
	if _, err := s.Approve(ctx, "stranger", "acme", c.ID); err == nil {
		t.Error("a stranger approved")
	}
	if _, err := s.Approve(ctx, "bob", "other", c.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("approved through another tenant: %v", err)
	}
	other, _ := s.Ask(ctx, "ann", "acme", "reveal:provider", "x", nil)
	if _, err := s.Approve(ctx, "bob", "acme", other.ID); !errors.Is(err, ErrMayNot) {
		t.Errorf("approved what he may not: %v", err)
	}
}

func TestOnlyTheVeryPayloadPasses(t *testing.T) {
	s, _, _ := service()
	c := asked(t, s)
	if _, err := s.Approve(ctx, "bob", "acme", c.ID); err != nil {
		t.Fatal(err)
	}
	for _, payload := range []string{"", "monitor ", "Monitor", "gatewaymonitor"} {
		if _, err := s.Redeem(ctx, "ann", "acme", c.ID, []byte(payload)); !errors.Is(err, ErrPayload) {
			t.Errorf("%q: %v", payload, err)
		}
	}
	if _, err := s.Redeem(ctx, "bob", "acme", c.ID, []byte("monitor")); !errors.Is(err, ErrMayNot) {
		t.Errorf("the approver redeemed it: %v", err)
	}
	if Hash("a", "b", "c", []byte("d")) == Hash("a", "b", "cd", nil) || Hash("a", "bc", "", nil) == Hash("ab", "c", "", nil) {
		t.Error("two changes have one hash")
	}
}

func TestTimeEndsAChange(t *testing.T) {
	s, _, now := service()
	c := asked(t, s)
	late := asked(t, s)
	if _, err := s.Approve(ctx, "bob", "acme", c.ID); err != nil {
		t.Fatal(err)
	}
	*now = now.Add(time.Hour)
	if _, err := s.Redeem(ctx, "ann", "acme", c.ID, []byte("monitor")); !errors.Is(err, ErrExpired) {
		t.Errorf("redeemed late: %v", err)
	}
	if _, err := s.Approve(ctx, "bob", "acme", late.ID); !errors.Is(err, ErrExpired) {
		t.Errorf("approved late: %v", err)
	}
}

// Between approval and execution the world changes.
func TestPeopleAreLookedAtAgain(t *testing.T) {
	for name, change := range map[string]func(*people){
		"the approver left":                func(d *people) { p := d.all["bob"]; p.Active = false; d.all["bob"] = p },
		"the approver was deleted":         func(d *people) { delete(d.all, "bob") },
		"the approver lost the permission": func(d *people) { d.may["bob"] = false },
		"the approver proves the same":     func(d *people) { p := d.all["bob"]; p.Logins = d.all["ann"].Logins; d.all["bob"] = p },
		"who asked left":                   func(d *people) { p := d.all["ann"]; p.Active = false; d.all["ann"] = p },
		"nobody can say":                   func(d *people) { d.err = errors.New("away") },
	} {
		s, d, _ := service()
		c := asked(t, s)
		if _, err := s.Approve(ctx, "bob", "acme", c.ID); err != nil {
			t.Fatal(err)
		}
		change(d)
		if _, err := s.Redeem(ctx, "ann", "acme", c.ID, []byte("monitor")); err == nil {
			t.Errorf("%s: it was carried out", name)
		}
	}
}

func TestARefusalHolds(t *testing.T) {
	for _, who := range []string{"ann", "bob"} {
		s, _, _ := service()
		c := asked(t, s)
		if _, err := s.Approve(ctx, "bob", "acme", c.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Refuse(ctx, "eve", "acme", c.ID); !errors.Is(err, ErrMayNot) {
			t.Errorf("eve refused: %v", err)
		}
		if _, err := s.Refuse(ctx, who, "acme", c.ID); err != nil {
			t.Errorf("%s: %v", who, err)
		}
		if _, err := s.Redeem(ctx, "ann", "acme", c.ID, []byte("monitor")); !errors.Is(err, ErrState) {
			t.Errorf("redeemed after a refusal: %v", err)
		}
	}
}

func TestOfManyAtOnceOneRedeems(t *testing.T) {
	s, _, _ := service()
	c := asked(t, s)
	if _, err := s.Approve(ctx, "bob", "acme", c.ID); err != nil {
		t.Fatal(err)
	}
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := s.Redeem(ctx, "ann", "acme", c.ID, []byte("monitor")); err == nil {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d redeemed it", won.Load())
	}
	if cs, err := s.List(ctx, "acme"); err != nil || len(cs) != 1 || cs[0].State != Done {
		t.Errorf("%+v, %v", cs, err)
	}
	if cs, _ := s.List(ctx, "other"); len(cs) != 0 {
		t.Errorf("another tenant sees %+v", cs)
	}
}
