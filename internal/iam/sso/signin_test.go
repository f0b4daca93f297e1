package sso

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam/access"
	"sallyport.dev/sallyport/internal/iam/datakeys"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/federation"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/secret/envelope"
	"sallyport.dev/sallyport/internal/store/memory"
)

const issuer = "https://login.example"

type sealer struct{ ring *envelope.Keyring }

func (s sealer) Seal(_ context.Context, tenant, row, column string, v secret.String) ([]byte, error) {
	return s.ring.Seal(tenant, envelope.Place{Table: KindSecret, Row: row, Column: column}, v)
}

func (s sealer) Open(_ context.Context, tenant, row, column string, b []byte) (secret.String, error) {
	return s.ring.Open(tenant, envelope.Place{Table: KindSecret, Row: row, Column: column}, b)
}

// bench is two nodes on one store, with a tenant and a provider. What a provider asserts is handed over
// as packages oidc and saml hand it over, verified; their own tests hold that.
type bench struct {
	t      *testing.T
	docs   *memory.Documents
	nodes  [2]*Service
	ss     *session.Sessions
	p      Provider
	mu     sync.Mutex
	at     time.Time
	events []Event
}

func (b *bench) now() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.at }

func (b *bench) event(_ context.Context, e Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
}

func open(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, docs: &memory.Documents{}, at: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}
	kek, err := envelope.ParseKEK(secret.New(fmt.Sprintf("%x", sha256.Sum256([]byte("a key of this test")))))
	ok(t, err)
	ring, err := envelope.New(t.Context(), envelope.Options{Store: datakeys.Store{Docs: b.docs}, Current: kek})
	ok(t, err)
	b.ss, err = session.New(session.Options{Store: b.docs, Now: b.now})
	ok(t, err)
	for i := range b.nodes {
		b.nodes[i], err = New(Options{
			Docs: b.docs, Sealer: sealer{ring}, Sessions: b.ss, CookieKey: make([]byte, 32), Base: func() string { return "https://console.example" },
			Client: func(string) (*http.Client, error) { return &http.Client{}, nil }, Event: b.event, Now: b.now,
		})
		ok(t, err)
	}
	b.p = Provider{ID: "idp_1", Tenant: "acme", Name: "corp", Title: "Corp", Protocol: OIDC, Issuer: issuer, ClientID: "us", Created: b.at}
	put(b, directory.Tenant{ID: "acme", Name: "Acme"})
	put(b, directory.Tenant{ID: "other", Name: "Other"})
	put(b, b.p)
	put(b, directory.User{ID: "usr_a", Tenant: "acme", UserName: "ada", Name: "Ada", Email: "ada@example.test", Origin: directory.OriginLocal, Active: true,
		Links: []directory.Link{{Provider: "corp", Issuer: issuer, Subject: "s-ada"}}})
	return b
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put[T document.Entity](b *bench, v T) {
	b.t.Helper()
	_, err := document.Insert(b.t.Context(), b.docs, v)
	ok(b.t, err)
}

func (b *bench) mapping(id, group, role string, deny bool) {
	b.t.Helper()
	put(b, access.Mapping{ID: id, Tenant: "acme", Provider: "corp", Group: group, Role: role, Deny: deny})
}

func (b *bench) said(subject string, groups ...string) *federation.Signed {
	return &federation.Signed{Assertion: federation.Assertion{
		Provider: "corp", Issuer: issuer, Subject: subject, Name: "N " + subject, Email: subject + "@example.test", EmailVerified: true,
		Groups: groups, AMR: []string{"pwd"}, AuthTime: b.now(), Session: "remote-" + subject,
	}}
}

var from = From{Addr: netip.MustParseAddr("192.0.2.7"), Agent: "Firefox"}

func (b *bench) in(a *federation.Signed) Done {
	b.t.Helper()
	d, err := b.nodes[0].finish(b.t.Context(), b.p, a, nil, from)
	ok(b.t, err)
	return d
}

// refused says that a sign-in is refused, for a reason that the record has and nobody else, without a session.
func (b *bench) refused(what string, a *federation.Signed, f From, reason string) {
	b.t.Helper()
	before, err := document.List[session.Session](b.t.Context(), b.docs, nil)
	ok(b.t, err)
	d, err := b.nodes[0].finish(b.t.Context(), b.p, a, nil, f)
	var r *federation.Refusal
	if !errors.As(err, &r) || !d.Token.Empty() || !strings.Contains(r.Reason, reason) {
		b.t.Errorf("%s: %v, %+v", what, err, d)
	}
	after, err := document.List[session.Session](b.t.Context(), b.docs, nil)
	ok(b.t, err)
	if len(after) != len(before) {
		b.t.Errorf("%s: %d sessions, and %d before", what, len(after), len(before))
	}
	if e := b.events[len(b.events)-1]; e.OK || !strings.Contains(e.Reason, reason) || e.Subject != a.Subject {
		b.t.Errorf("%s: the record says %+v", what, e)
	}
}

func (b *bench) alive(d Done) bool {
	b.t.Helper()
	_, err := b.ss.Find(b.t.Context(), d.Token)
	if err != nil && !errors.Is(err, session.ErrNone) {
		b.t.Fatal(err)
	}
	return err == nil
}

func (b *bench) roles(user string) (out []string) {
	b.t.Helper()
	all, err := document.List[access.Binding](b.t.Context(), b.docs, nil)
	ok(b.t, err)
	for _, x := range all {
		if x.Subject == user {
			out = append(out, x.Role)
		}
	}
	slices.Sort(out)
	return out
}

func edit[T document.Entity](b *bench, id string, f func(*T)) {
	b.t.Helper()
	_, _, _, err := document.Update(b.t.Context(), b.docs, id, 0, func(v *T) error { f(v); return nil })
	ok(b.t, err)
}

func TestFoundByIssuerAndSubject(t *testing.T) {
	b := open(t)
	d := b.in(b.said("s-ada"))
	if d.Session.User != "usr_a" || d.Session.Provider != "corp" || d.Session.Remote != "remote-s-ada" || d.Session.Addr != "192.0.2.7" {
		t.Errorf("%+v", d.Session)
	}
	// The address, the name and the user name of somebody are not who they are.
	same := b.said("s-eve")
	same.Email, same.Name = "ada@example.test", "Ada"
	b.refused("an address", same, from, "nobody here has this account")
	same.Subject = "ada"
	b.refused("a user name", same, from, "nobody here has this account")
	// The same subject at another issuer is somebody else.
	elsewhere := b.said("s-ada")
	elsewhere.Issuer = "https://login.example.evil"
	b.refused("another issuer", elsewhere, from, "nobody here has this account")
	// So it is in another tenant.
	d2, err := b.nodes[1].finish(t.Context(), Provider{ID: "idp_2", Tenant: "other", Name: "corp", Protocol: OIDC, Issuer: issuer}, b.said("s-ada"), nil, from)
	if err == nil {
		t.Errorf("another tenant's person: %+v", d2.Session)
	}
}

func TestWhoIsOutStaysOut(t *testing.T) {
	b := open(t)
	b.mapping("m1", "staff", "auditor", false)
	d := b.in(b.said("s-ada", "staff"))
	edit(b, "usr_a", func(u *directory.User) { u.Active = false })
	b.refused("switched off", b.said("s-ada", "staff"), from, "switched off")
	up := b.said("s-ada")
	up.StepUp, up.Return, up.AMR = true, d.Session.ID, []string{"mfa"}
	b.refused("switched off, step-up", up, From{Token: d.Token}, "switched off")
	edit(b, "usr_a", func(u *directory.User) { u.Active, u.BreakGlass = true, true })
	b.refused("for emergencies", b.said("s-ada"), from, "emergencies")
	edit(b, "usr_a", func(u *directory.User) { u.BreakGlass = false })
	edit(b, "acme", func(u *directory.Tenant) { u.Disabled = true })
	b.refused("tenant disabled", b.said("s-ada"), from, "tenant is disabled")
}

func TestNobodyIsMadeUnlessTheSettingsSaySo(t *testing.T) {
	b := open(t)
	b.refused("unknown", b.said("s-new"), from, "make nobody")
	b.p.Create = true
	d := b.in(b.said("s-new"))
	u, _, err := document.Get[directory.User](t.Context(), b.docs, d.Session.User)
	ok(t, err)
	if u.Origin != directory.OriginOIDC || u.UserName != "s-new@example.test" || len(b.roles(u.ID)) != 0 || len(u.Links) != 1 || u.Links[0].Subject != "s-new" {
		t.Errorf("%+v %v", u, b.roles(u.ID))
	}
	// Once is enough, on both nodes.
	again, err := b.nodes[1].finish(t.Context(), b.p, b.said("s-new"), nil, from)
	ok(t, err)
	if again.Session.User != u.ID {
		t.Error("the same account is two people")
	}
	// A user name that is somebody's stays theirs.
	taken := b.said("s-eve")
	taken.Email, taken.Subject = "", "Ada"
	b.refused("a taken name", taken, from, "somebody else has this user name")
	if len(b.roles("usr_a")) != 0 {
		t.Error("roles")
	}
}

// SCIM's people are linked by their external id, where the settings say so, and by nothing else.
func TestProvisionedPeopleAreLinked(t *testing.T) {
	b := open(t)
	put(b, directory.User{ID: "usr_s", Tenant: "acme", UserName: "sam", Name: "Sam", Origin: directory.OriginSCIM, ExternalID: "s-sam", Active: true})
	put(b, directory.User{ID: "usr_l", Tenant: "acme", UserName: "lou", Name: "Lou", Origin: directory.OriginLocal, ExternalID: "s-lou", Active: true})
	b.refused("without the setting", b.said("s-sam"), from, "nobody here")
	b.p.MatchExternalID = true
	if d := b.in(b.said("s-sam")); d.Session.User != "usr_s" {
		t.Errorf("%+v", d.Session)
	}
	b.refused("an external id that SCIM did not give", b.said("s-lou"), from, "nobody here")
	edit(b, "usr_s", func(u *directory.User) { u.Active = false })
	b.refused("deprovisioned", b.said("s-sam"), from, "switched off")
}

// Groups give roles, a denial wins, what is not said any more is gone, and so are the sessions from before.
func TestGroupsGiveRoles(t *testing.T) {
	b := open(t)
	b.mapping("m1", "staff", "auditor", false)
	b.mapping("m2", "admins", "admin", false)
	b.mapping("m3", "contract*", "*", true)
	first := b.in(b.said("s-ada", "staff", "admins"))
	if got := fmt.Sprint(b.roles("usr_a")); got != "[admin auditor]" {
		t.Fatal(got)
	}
	same := b.in(b.said("s-ada", "admins", "staff"))
	if !b.alive(first) || !b.alive(same) {
		t.Error("a sign-in that changes nothing ends a session")
	}
	less := b.in(b.said("s-ada", "staff"))
	if b.alive(first) || b.alive(same) || !b.alive(less) || fmt.Sprint(b.roles("usr_a")) != "[auditor]" {
		t.Errorf("%v %v %v %v", b.alive(first), b.alive(same), b.alive(less), b.roles("usr_a"))
	}
	none := b.in(b.said("s-ada", "staff", "admins", "contractors"))
	if got := b.roles("usr_a"); len(got) != 0 || b.alive(less) || !b.alive(none) {
		t.Errorf("a denial does not win: %v", got)
	}
	// Roles that somebody gave by hand are not the provider's to take.
	put(b, access.Binding{ID: "b1", Tenant: "acme", Kind: "user", Subject: "usr_a", Role: "developer"})
	b.in(b.said("s-ada"))
	if got := fmt.Sprint(b.roles("usr_a")); got != "[developer]" {
		t.Error(got)
	}
	if !slices.ContainsFunc(b.events, func(e Event) bool { return e.Name == "sso.roles_changed" && e.User == "usr_a" }) {
		t.Error("no event of roles that change")
	}
}

func TestStepUp(t *testing.T) {
	b := open(t)
	put(b, directory.User{ID: "usr_e", Tenant: "acme", UserName: "eve", Name: "Eve", Origin: directory.OriginLocal, Active: true, Links: []directory.Link{{Provider: "corp", Issuer: issuer, Subject: "s-eve"}}})
	d, eve := b.in(b.said("s-ada")), b.in(b.said("s-eve"))
	if d.Session.Strong() {
		t.Error("a password alone is two factors")
	}
	up := func(subject, of string, amr ...string) *federation.Signed {
		a := b.said(subject)
		a.StepUp, a.Return, a.AMR = true, of, amr
		return a
	}
	mine := From{Token: d.Token}
	b.refused("one factor", up("s-ada", d.Session.ID, "pwd"), mine, "no second factor")
	b.refused("another method's name", up("s-ada", d.Session.ID, "pwd", "otp"), mine, "no second factor")
	b.refused("somebody else", up("s-eve", d.Session.ID, "mfa"), mine, "somebody else came back")
	b.refused("another session began it", up("s-ada", eve.Session.ID, "mfa"), mine, "another session")
	b.refused("no session", up("s-ada", d.Session.ID, "mfa"), From{}, "no session")
	b.refused("another browser", up("s-ada", d.Session.ID, "mfa"), From{Token: eve.Token}, "another session")
	other := b.p
	other.Name = "other"
	if _, err := b.nodes[0].finish(t.Context(), other, up("s-ada", d.Session.ID, "mfa"), nil, mine); err == nil {
		t.Error("another provider steps up")
	}
	got, err := b.nodes[1].finish(t.Context(), b.p, up("s-ada", d.Session.ID, "pwd", "mfa"), nil, mine)
	ok(t, err)
	if !got.StepUp || got.Session.ID != d.Session.ID || !got.Session.Strong() || !got.Session.IsFresh(b.now()) || b.alive(d) || !b.alive(got) {
		t.Errorf("%+v", got)
	}
}

// What a session starts with is what the provider showed, and no more.
func TestAMRAndTimes(t *testing.T) {
	b := open(t)
	b.p.StrongACR = []string{"urn:two"}
	for name, c := range map[string]struct {
		edit   func(*federation.Signed)
		amr    string
		strong bool
		fresh  bool
	}{
		"a password":                   {func(a *federation.Signed) {}, "[pwd]", false, true},
		"mfa, which is not asked for":  {func(a *federation.Signed) { a.AMR = []string{"pwd", "mfa"} }, "[pwd]", false, true},
		"the context that is":          {func(a *federation.Signed) { a.ACR = "urn:two" }, "[pwd mfa]", true, true},
		"an old authentication":        {func(a *federation.Signed) { a.ACR, a.AuthTime = "urn:two", b.now().Add(-time.Hour) }, "[pwd mfa]", true, false},
		"no time":                      {func(a *federation.Signed) { a.ACR, a.AuthTime = "urn:two", time.Time{} }, "[pwd mfa]", true, false},
		"a time to come":               {func(a *federation.Signed) { a.AuthTime = b.now().Add(time.Hour) }, "[pwd]", false, true},
		"nothing":                      {func(a *federation.Signed) { a.AMR = nil }, "[fed]", false, true},
		"two methods, neither of them": {func(a *federation.Signed) { a.AMR = []string{"pwd", "otp", "hwk"} }, "[pwd otp hwk]", false, true},
	} {
		a := b.said("s-ada")
		c.edit(a)
		s := b.in(a).Session
		if fmt.Sprint(s.AMR) != c.amr || s.Strong() != c.strong || s.IsFresh(b.now()) != c.fresh {
			t.Errorf("%s: %v strong %v fresh %v", name, s.AMR, s.Strong(), s.IsFresh(b.now()))
		}
		if s.Fresh.After(b.now().Add(session.Fresh)) {
			t.Errorf("%s: fresh until %v", name, s.Fresh)
		}
	}
	// A session does not outlive the provider's.
	a := b.said("s-ada")
	a.SessionEnds = b.now().Add(time.Minute)
	d := b.in(a)
	b.mu.Lock()
	b.at = b.at.Add(time.Minute)
	b.mu.Unlock()
	if b.alive(d) {
		t.Error("a session outlives the provider's")
	}
}

// Of many at once with the same thing, on two nodes, one is the first.
func TestOnce(t *testing.T) {
	b := open(t)
	var first atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if got, err := (Once{b.docs}).First(context.Background(), "assertion", b.now().Add(time.Minute)); err == nil && got {
				first.Add(1)
			}
		})
	}
	wg.Wait()
	if first.Load() != 1 {
		t.Fatalf("%d are the first", first.Load())
	}
	if n, err := b.nodes[0].Sweep(t.Context()); n != 0 || err != nil {
		t.Error("swept while it could be used: ", n, err)
	}
	b.mu.Lock()
	b.at = b.at.Add(time.Minute)
	b.mu.Unlock()
	if n, err := b.nodes[1].Sweep(t.Context()); n != 1 || err != nil {
		t.Error(n, err)
	}
}
