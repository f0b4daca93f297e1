package rbac

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

func user(tenant, id string) Subject  { return Subject{tenant, User, id} }
func group(tenant, id string) Subject { return Subject{tenant, Group, id} }

func bind(id string, who Subject, role string, e Effect) Binding {
	return Binding{ID: id, Subject: who, Role: role, Tenant: who.Tenant, Effect: e}
}

func newSet(t testing.TB, roles []Role, bs ...Binding) *Set {
	t.Helper()
	s, err := NewSet(roles, bs)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Every permission of every built-in role, to be read by people; a change must be made on purpose.
func TestTheMatrixOfRoles(t *testing.T) {
	var b strings.Builder
	fmt.Fprintf(&b, "%-26s %-10s", "", "asks for")
	for _, r := range Builtin() {
		fmt.Fprintf(&b, " %-13s", r.Name)
	}
	for _, i := range Permissions() {
		asks := ""
		if i.StepUp {
			asks = "step-up"
		}
		if i.FourEyes {
			asks += "+4"
		}
		fmt.Fprintf(&b, "\n%-26s %-10s", i.Permission, asks)
		for _, r := range Builtin() {
			mark := "-"
			if slices.Contains(r.Permissions, i.Permission) {
				mark = "yes"
			} else if slices.Contains(r.Own, i.Permission) {
				mark = "own"
			}
			fmt.Fprintf(&b, " %-13s", mark)
		}
	}
	b.WriteByte('\n')
	if *update {
		if err := os.WriteFile("testdata/roles.txt", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/roles.txt")
	if err != nil || string(want) != b.String() {
		t.Errorf("the roles are not those of testdata/roles.txt (%v); go test -update writes it:\n%s", err, b.String())
	}
}

func TestWhatRolesPromise(t *testing.T) {
	for _, r := range Builtin() {
		for _, p := range append(slices.Clone(r.Permissions), r.Own...) {
			if _, ok := Lookup(p); !ok {
				t.Errorf("%s: %q is not in the list", r.Name, p)
			}
			if r.Name == Auditor && p.Verb() != "read" && p != "export:audit" {
				t.Errorf("an auditor could %s", p)
			}
			if r.Name != Owner && p.Verb() == "reveal" {
				t.Errorf("%s could see a secret: %s", r.Name, p)
			}
		}
	}
	for _, i := range Permissions() {
		if i.Permission.Verb() == "read" && !slices.Contains(builtin[Auditor].Permissions, i.Permission) {
			t.Errorf("an auditor cannot %s", i.Permission)
		}
		if !slices.Contains(builtin[Owner].Permissions, i.Permission) {
			t.Errorf("an owner cannot %s", i.Permission)
		}
		if v := i.Permission.Verb(); (v == "reveal" || v == "export") && !i.StepUp {
			t.Errorf("%s asks for no step-up", i.Permission)
		}
	}
	for _, p := range []Permission{"write:inspect_mode", "write:policy", "delete:policy", "write:role", "write:binding", "write:mapping", "write:identity_provider", "write:config"} {
		if i, ok := Lookup(p); !ok || !i.StepUp {
			t.Errorf("%s asks for no step-up", p)
		}
	}
	if i, _ := Lookup("write:inspect_mode"); !i.FourEyes {
		t.Error("a protection can be turned off by one person whatever is configured")
	}
}

func TestCan(t *testing.T) {
	alice, eng := user("acme", "alice"), group("acme", "eng")
	team := Binding{ID: "t", Subject: alice, Role: Admin, Tenant: "acme", Team: "research", Effect: Allow}
	root := Binding{ID: "r", Subject: user(System, "root"), Role: Owner, Tenant: System, Effect: Allow, AllTenants: true}
	local := root
	local.AllTenants = false
	for name, c := range map[string]struct {
		bindings []Binding
		who      []Subject
		p        Permission
		on       Resource
		allow    bool
		by       string
	}{
		"nothing":                            {nil, []Subject{alice}, "read:key", Resource{Tenant: "acme"}, false, ""},
		"a role":                             {[]Binding{bind("b", alice, Operator, Allow)}, []Subject{alice}, "rotate:key", Resource{Tenant: "acme"}, true, "b"},
		"not in it":                          {[]Binding{bind("b", alice, Operator, Allow)}, []Subject{alice}, "reveal:provider", Resource{Tenant: "acme"}, false, ""},
		"through a group":                    {[]Binding{bind("b", eng, Operator, Allow)}, []Subject{alice, eng}, "rotate:key", Resource{Tenant: "acme"}, true, "b"},
		"a group one is not in":              {[]Binding{bind("b", eng, Operator, Allow)}, []Subject{alice}, "rotate:key", Resource{Tenant: "acme"}, false, ""},
		"no such permission":                 {[]Binding{bind("b", alice, Owner, Allow)}, []Subject{alice}, "read:everything", Resource{Tenant: "acme"}, false, ""},
		"no tenant":                          {[]Binding{bind("b", alice, Owner, Allow)}, []Subject{alice}, "read:key", Resource{}, false, ""},
		"denied by a group":                  {[]Binding{bind("a", alice, Owner, Allow), bind("z", eng, Operator, Deny)}, []Subject{alice, eng}, "rotate:key", Resource{Tenant: "acme"}, false, "z"},
		"what is not denied":                 {[]Binding{bind("a", alice, Owner, Allow), bind("z", eng, Operator, Deny)}, []Subject{alice, eng}, "write:role", Resource{Tenant: "acme"}, true, "a"},
		"one's own":                          {[]Binding{bind("b", alice, Developer, Allow)}, []Subject{alice}, "rotate:key", Resource{Tenant: "acme", Owner: alice}, true, "b"},
		"another's":                          {[]Binding{bind("b", alice, Developer, Allow)}, []Subject{alice}, "rotate:key", Resource{Tenant: "acme", Owner: user("acme", "bob")}, false, ""},
		"nobody's":                           {[]Binding{bind("b", alice, Developer, Allow)}, []Subject{alice}, "rotate:key", Resource{Tenant: "acme"}, false, ""},
		"the same name elsewhere":            {[]Binding{bind("b", alice, Developer, Allow)}, []Subject{alice}, "rotate:key", Resource{Tenant: "acme", Owner: user("other", "alice")}, false, ""},
		"what is one's own is denied to all": {[]Binding{bind("a", alice, Owner, Allow), bind("z", alice, Developer, Deny)}, []Subject{alice}, "rotate:key", Resource{Tenant: "acme"}, false, "z"},
		"one's team":                         {[]Binding{team}, []Subject{alice}, "write:key", Resource{Tenant: "acme", Team: "research"}, true, "t"},
		"another team":                       {[]Binding{team}, []Subject{alice}, "write:key", Resource{Tenant: "acme", Team: "sales"}, false, ""},
		"what is of no team":                 {[]Binding{team}, []Subject{alice}, "write:key", Resource{Tenant: "acme"}, false, ""},
		"another tenant":                     {[]Binding{bind("b", alice, Owner, Allow)}, []Subject{alice}, "read:key", Resource{Tenant: "other"}, false, ""},
		"a namesake in another tenant":       {[]Binding{bind("b", user("other", "alice"), Owner, Allow)}, []Subject{alice}, "read:key", Resource{Tenant: "other"}, false, ""},
		"the platform's, everywhere":         {[]Binding{root}, []Subject{user(System, "root")}, "write:tenant", Resource{Tenant: "acme"}, true, "r"},
		"the platform's, at home only":       {[]Binding{local}, []Subject{user(System, "root")}, "write:tenant", Resource{Tenant: "acme"}, false, ""},
		"a namesake of the platform's":       {[]Binding{root}, []Subject{user("acme", "root")}, "write:tenant", Resource{Tenant: "acme"}, false, ""},
		"a role that is gone allows nothing": {[]Binding{bind("b", alice, "gone", Allow)}, []Subject{alice}, "read:key", Resource{Tenant: "acme"}, false, ""},
		"a role that is gone denies all":     {[]Binding{bind("a", alice, Owner, Allow), bind("b", alice, "gone", Deny)}, []Subject{alice}, "read:key", Resource{Tenant: "acme"}, false, "b"},
		"another tenant's custom role":       {[]Binding{bind("b", alice, "keys", Allow)}, []Subject{alice}, "read:key", Resource{Tenant: "acme"}, false, ""},
	} {
		s := newSet(t, []Role{{Name: "keys", Tenant: "other", Permissions: []Permission{"read:key"}}}, c.bindings...)
		d := s.Can(c.who, c.p, c.on)
		if d.Allow != c.allow || d.Binding != c.by || d.Reason == "" {
			t.Errorf("%s: %+v", name, d)
		}
	}
	d := newSet(t, nil, bind("b", alice, Owner, Allow)).Can([]Subject{alice}, "write:inspect_mode", Resource{Tenant: "acme"})
	if !d.Allow || !d.StepUp || !d.FourEyes {
		t.Errorf("what it asks for is not said: %+v", d)
	}
}

func TestBindingsThatCannotBe(t *testing.T) {
	ok := bind("b", user("acme", "a"), Admin, Allow)
	for name, edit := range map[string]func(*Binding){
		"no tenant":                func(b *Binding) { b.Tenant = "" },
		"no subject":               func(b *Binding) { b.Subject.ID = "" },
		"no role":                  func(b *Binding) { b.Role = "" },
		"no effect":                func(b *Binding) { b.Effect = 0 },
		"no kind":                  func(b *Binding) { b.Subject.Kind = "" },
		"over a border":            func(b *Binding) { b.Tenant = "other" },
		"the platform's borders":   func(b *Binding) { b.Subject.Tenant = System },
		"all tenants from one":     func(b *Binding) { b.AllTenants = true },
		"all tenants for one team": func(b *Binding) { b.Subject.Tenant, b.Tenant, b.AllTenants, b.Team = System, System, true, "t" },
	} {
		b := ok
		edit(&b)
		if _, err := NewSet(nil, []Binding{b}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for _, r := range []Role{{Name: Owner, Tenant: "acme"}, {Name: "x"}} {
		if _, err := NewSet([]Role{r}, nil); err == nil {
			t.Errorf("%+v: taken", r)
		}
	}
}

func TestNobodyGivesMoreThanTheyHold(t *testing.T) {
	boss, adm, dev := user("acme", "boss"), user("acme", "adm"), user("acme", "dev")
	s := newSet(t, nil, bind("1", boss, Owner, Allow), bind("2", adm, Admin, Allow), bind("3", dev, Developer, Allow),
		Binding{ID: "4", Subject: user("acme", "lead"), Role: Admin, Tenant: "acme", Team: "research", Effect: Allow},
		bind("5", user("acme", "cut"), Owner, Allow), Binding{ID: "6", Subject: user("acme", "cut"), Role: Operator, Tenant: "acme", Team: "x", Effect: Deny},
		bind("7", user(System, "op"), Owner, Allow))
	role := func(ps ...Permission) Role { return Role{Name: "mine", Tenant: "acme", Permissions: ps} }
	for name, c := range map[string]struct {
		who Subject
		r   Role
		ok  bool
	}{
		"what one holds":                      {adm, role("write:key", "read:audit"), true},
		"what one does not":                   {adm, role("write:key", "reveal:provider"), false},
		"what one holds for one's own":        {dev, role("write:key"), false},
		"even for one's own again":            {dev, Role{Name: "mine", Tenant: "acme", Own: []Permission{"write:key"}}, false},
		"what one holds in a team":            {user("acme", "lead"), role("write:key"), false},
		"what one is denied in a team":        {user("acme", "cut"), role("rotate:key"), false},
		"in another tenant":                   {adm, Role{Name: "mine", Tenant: "other", Permissions: []Permission{"write:key"}}, false},
		"what there is not":                   {boss, role("write:everything"), false},
		"nothing":                             {boss, role(), false},
		"a built-in name":                     {boss, Role{Name: Owner, Tenant: "acme", Permissions: []Permission{"read:key"}}, false},
		"a name that would hurt a terminal":   {boss, Role{Name: "x\x1b", Tenant: "acme", Permissions: []Permission{"read:key"}}, false},
		"everything, by who holds everything": {boss, Role{Name: "mine", Tenant: "acme", Permissions: builtin[Owner].Permissions}, true},
	} {
		if err := s.CheckRole([]Subject{c.who}, c.r); (err == nil) != c.ok {
			t.Errorf("role of %s: %v", name, err)
		}
	}
	bob := user("acme", "bob")
	everywhere := Binding{ID: "x", Subject: user(System, "bob"), Role: Auditor, Tenant: System, Effect: Allow, AllTenants: true}
	for name, c := range map[string]struct {
		who Subject
		b   Binding
		ok  bool
	}{
		"an admin makes an admin":          {adm, bind("x", bob, Admin, Allow), true},
		"an admin makes an owner":          {adm, bind("x", bob, Owner, Allow), false},
		"a developer makes a developer":    {dev, bind("x", bob, Developer, Allow), false},
		"a lead makes a lead":              {user("acme", "lead"), Binding{ID: "x", Subject: bob, Role: Admin, Tenant: "acme", Team: "research", Effect: Allow}, true},
		"a lead makes an admin":            {user("acme", "lead"), bind("x", bob, Admin, Allow), false},
		"no such role":                     {boss, bind("x", bob, "none", Allow), false},
		"an admin denies an owner's":       {adm, bind("x", bob, Owner, Deny), true},
		"the platform's owner, at home":    {user(System, "op"), bind("x", user(System, "bob"), Auditor, Allow), true},
		"the platform's owner, everywhere": {user(System, "op"), everywhere, false},
	} {
		if err := s.CheckBinding([]Subject{c.who}, c.b); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	// To take away a denial of oneself is to give oneself something.
	cut := user("acme", "cut")
	if err := s.CheckRemoval([]Subject{cut}, Binding{ID: "6", Subject: cut, Role: Operator, Tenant: "acme", Team: "x", Effect: Deny}); !errors.Is(err, ErrEscalation) {
		t.Errorf("one took away one's own denial: %v", err)
	}
	if err := s.CheckRemoval([]Subject{boss}, Binding{ID: "6", Subject: cut, Role: Operator, Tenant: "acme", Team: "x", Effect: Deny}); err != nil {
		t.Error(err)
	}
}

func TestTheLastOwnerStays(t *testing.T) {
	alive := func(Subject) bool { return true }
	a, b := bind("1", user("acme", "a"), Owner, Allow), bind("2", user("acme", "b"), Owner, Allow)
	for name, c := range map[string]struct {
		bs     []Binding
		active func(Subject) bool
		ok     bool
	}{
		"one":               {[]Binding{a}, alive, true},
		"none":              {nil, alive, false},
		"an admin":          {[]Binding{bind("1", user("acme", "a"), Admin, Allow)}, alive, false},
		"a group":           {[]Binding{bind("1", group("acme", "a"), Owner, Allow)}, alive, false},
		"of a team":         {[]Binding{{ID: "1", Subject: a.Subject, Role: Owner, Tenant: "acme", Team: "t", Effect: Allow}}, alive, false},
		"of another tenant": {[]Binding{bind("1", user("other", "a"), Owner, Allow)}, alive, false},
		"disabled":          {[]Binding{a}, func(s Subject) bool { return s.ID != "a" }, false},
		"one of two":        {[]Binding{a, b}, func(s Subject) bool { return s.ID != "a" }, true},
		"denied":            {[]Binding{a, bind("3", a.Subject, Auditor, Deny)}, alive, false},
	} {
		if err := CheckOwners("acme", c.bs, c.active); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrLastOwner) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMapping(t *testing.T) {
	const okta, entra = "https://okta.example", "https://entra.example"
	rule := func(id, issuer, g, role, team string, e Effect) Rule {
		return Rule{ID: id, Tenant: "acme", Issuer: issuer, Group: g, Role: role, Team: team, Effect: e}
	}
	rules := []Rule{
		rule("1", okta, "sp-admins", Admin, "", Allow), rule("2", okta, "sp-team-*", Developer, "research", Allow),
		rule("3", okta, "contractors", Admin, "", Deny), rule("4", okta, "leavers", "*", "", Deny),
		rule("5", okta, "sp-admins", Developer, "research", Allow), rule("6", okta, "no-research", "*", "research", Deny),
	}
	for name, c := range map[string]struct {
		issuer string
		groups []string
		want   string
	}{
		"nobody":                   {okta, nil, ""},
		"an exact name":            {okta, []string{"sp-admins"}, "admin/ developer/research"},
		"a pattern":                {okta, []string{"sp-team-7"}, "developer/research"},
		"another issuer":           {entra, []string{"sp-admins"}, ""},
		"another case":             {okta, []string{"SP-Admins"}, ""},
		"only a part of the name":  {okta, []string{"x-sp-admins", "sp-admins2"}, ""},
		"a role denied":            {okta, []string{"sp-admins", "contractors"}, "developer/research"},
		"denied, in another order": {okta, []string{"contractors", "sp-admins"}, "developer/research"},
		"everything denied":        {okta, []string{"leavers", "sp-admins", "sp-team-1"}, ""},
		"a denied team":            {okta, []string{"sp-team-1", "no-research"}, ""},
		"a denied team's whole":    {okta, []string{"sp-admins", "no-research"}, ""},
	} {
		m, err := NewMapping("acme", rules)
		if err != nil {
			t.Fatal(err)
		}
		gs, err := m.Grants(c.issuer, c.groups)
		var got []string
		for _, g := range gs {
			got = append(got, g.Role+"/"+g.Team)
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	m, _ := NewMapping("other", rules)
	if gs, _ := m.Grants(okta, []string{"sp-admins"}); len(gs) > 0 {
		t.Errorf("another tenant's rules: %v", gs)
	}
	if _, err := m.Grants(okta, make([]string, MaxGroups+1)); !errors.Is(err, ErrTooManyGroups) {
		t.Errorf("%v", err)
	}
	for name, r := range map[string]Rule{
		"everybody":       rule("1", okta, "*", Admin, "", Allow),
		"everybody twice": rule("1", okta, "**", Admin, "", Allow),
		"every issuer":    rule("1", "https://*", "g", Admin, "", Allow),
		"every role":      rule("1", okta, "g", "*", "", Allow),
		"no effect":       rule("1", okta, "g", Admin, "", 0),
		"no group":        rule("1", okta, "", Admin, "", Allow),
	} {
		if _, err := NewMapping("acme", []Rule{r}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	s := newSet(t, nil, bind("1", user("acme", "adm"), Admin, Allow))
	if err := s.CheckRule([]Subject{user("acme", "adm")}, rule("1", okta, "g", Owner, "", Allow)); !errors.Is(err, ErrEscalation) {
		t.Errorf("an admin mapped a group to owner: %v", err)
	}
	if err := s.CheckRule([]Subject{user("acme", "adm")}, rule("1", okta, "g", Admin, "", Allow)); err != nil {
		t.Error(err)
	}
}
