package policy

import (
	"strings"
	"testing"
)

func TestMistakesHaveAPlace(t *testing.T) {
	const head = "// a comment with riskscore\n@id(\"one\")\npermit (principal, action, resource)\nwhen {\n  "
	for name, c := range map[string]struct{ text, want string }{
		"a misspelt attribute":              {head + `context.riskscore > 3 };`, `a.cedar:5:11: policy a/one: there is no attribute "riskscore" in context; did you mean risk?`},
		"tested for":                        {head + `context has riskk && context.riskk > 3 };`, `a.cedar:5:15: policy a/one: there is no attribute "riskk" in context; did you mean risk?`},
		"where nothing would look":          {head + `false && context.hours > 3 };`, `a.cedar:5:20: policy a/one: there is no attribute "hours" in context; did you mean hour?`},
		"written otherwise":                 {head + `context.dataClasses.contains("x") };`, `a.cedar:5:11: policy a/one: there is no attribute "dataClasses" in context; did you mean data_classes?`},
		"in brackets":                       {head + `context["nobody"] > 3 };`, `a.cedar:5:12: policy a/one: there is no attribute "nobody" in context`},
		"not always known":                  {head + `context.risk > 3 };`, `a.cedar:5:11: policy a/one: "risk" is not always known; test for it first: context has risk && ...`},
		"guarded by another":                {head + `context has ip && context.risk > 3 };`, `a.cedar:5:29: policy a/one: "risk" is not always known`},
		"an unknown kind":                   {`permit (principal in Teem::"x", action, resource);`, "a.cedar:1:22: policy a: unrecognized entity type `Teem`"},
		"an unknown action":                 {`permit (principal, action == Action::"cal", resource);`, `a.cedar:1:39: policy a: unrecognized action`},
		"an unknown action in a condition":  {head + `action == Action::"cal" };`, "a.cedar:5:22: policy a/one: unrecognized action"},
		"an unknown kind in a condition":    {head + `principal in Teem::"x" };`, "a.cedar:5:16: policy a/one: unrecognized entity type `Teem`"},
		"an attribute of nobody":            {head + `principal has clas };`, `a.cedar:5:17: policy a/one: no entity has an attribute "clas"`},
		"an attribute of some":              {head + `principal.class == "ci" };`, "a.cedar:5:13: policy a/one: attribute `class` on entity type `User` not found"},
		"a number and a word":               {head + `context.hour == "9" };`, `a.cedar:2:1: policy a/one: the types Long and String are not compatible`},
		"a set of words and a number":       {head + `context.networks.contains(3) };`, `not compatible`},
		"a word for a condition":            {head + `context.upstream };`, `a.cedar:2:1: policy a/one: unexpected type: expected Bool but saw String`},
		"a bad address":                     {head + `context has ip && context.ip.isInRange(ip("10.0.0.0/88")) };`, `failed to parse as IP address`},
		"what cannot be":                    {`permit (principal, action == Action::"use_tool", resource == Model::"x");`, `a.cedar:1:1: policy a: unable to find an applicable action`},
		"a caller that calls nothing":       {`permit (principal == Upstream::"x", action, resource);`, `unable to find an applicable action`},
		"cut off":                           {head + `context.hour >`, `a.cedar:5:17: policy a: `},
		"an open quote":                     {head + `"abc`, `a.cedar:5:3: policy a: literal not terminated`},
		"an unknown function":               {head + `foo(3) };`, "a.cedar:5:7: policy a: \"3\": `foo` is not a function"},
		"a template":                        {`permit (principal == ?principal, action, resource);`, `a.cedar:1:23: policy a: `},
		"nothing":                           {`// nothing`, `a.cedar: policy a: no permit and no forbid in it`},
		"an id that would hurt a terminal":  {"@id(\"x\\u{1b}[2J\") permit (principal, action, resource);", `a.cedar:1:1: policy a/1: @id is up to 64`},
		"an id twice":                       {`@id("x") permit (principal, action, resource); @id("x") forbid (principal, action, resource);`, `a.cedar:1:48: policy a/x: the id a/x is given twice`},
		"an annotation twice":               {`@id("x") @id("y") permit (principal, action, resource);`, `a.cedar:1:`},
		"too deep":                          {"permit (principal, action, resource) when { " + strings.Repeat("(", 100), `a.cedar:1:108: policy a: brackets nested more than 64 deep`},
		"too long":                          {strings.Repeat(" ", MaxText+1), `longer than 65536 bytes`},
		"too large":                         {head + "true" + strings.Repeat(" && true", maxNodes) + "};", `larger than 2000 terms`},
		"too many":                          {strings.Repeat(`permit (principal, action, resource);`, MaxStatements+1), `more than 200 statements`},
		"the second statement is the wrong": {"permit (principal, action, resource);\nforbid (principal, action, resource) when { context.nope };", `a.cedar:2:53: policy a/2: there is no attribute "nope" in context`},
	} {
		err := Check(Policy{ID: "a", Tenant: "t", Text: c.text})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
		if es, ok := AsErrors(err); !ok || len(es) == 0 || es[0].File != "a.cedar" {
			t.Errorf("%s: no list of errors: %v", name, err)
		}
	}
}

func TestEachMistakeIsSaidOnce(t *testing.T) {
	err := Check(Policy{ID: "a", Tenant: "t", Text: `permit (principal, action, resource) when { context.nope > 3 && context.hours == 2 };`})
	es, _ := AsErrors(err)
	if len(es) != 2 || es[0].Col == es[1].Col {
		t.Errorf("%v", err)
	}
}

func TestNamesOfPolicies(t *testing.T) {
	for _, id := range []string{"", "A", "a b", "../a", "-a", strings.Repeat("a", 65), "platform", "builtin", "a/b", "ä"} {
		if Check(Policy{ID: id, Tenant: "t", Text: `permit (principal, action, resource);`}) == nil {
			t.Errorf("%q is no name", id)
		}
	}
}

func TestBracketsInWordsDoNotCount(t *testing.T) {
	deep := strings.Repeat("(", 100)
	text := "// " + deep + "\npermit (principal, action, resource) when { context.upstream == \"\\\"" + deep + "\" };"
	if err := Check(Policy{ID: "a", Tenant: "t", Text: text}); err != nil {
		t.Error(err)
	}
}

// Whatever the text, there is an answer, and every error has a place in its file.
func FuzzCheck(f *testing.F) {
	for _, s := range texts {
		f.Add("permit " + s)
		f.Add("forbid" + s + "\npermit" + s)
	}
	for _, p := range Builtin() {
		f.Add(p.Text)
	}
	f.Add("permit(principal,action,resource)when{if context has ip then{\"a\":[1,-2]}.a.containsAny([])else!(!(true))};")
	f.Fuzz(func(t *testing.T, text string) {
		err := Check(Policy{ID: "a", Tenant: "t", Text: text})
		if err == nil {
			s := NewSet([]Policy{{ID: "a", Tenant: "acme", Text: text}}, nil)
			p, _ := NewPrincipal(Who{Kind: KindUser, ID: "u", Tenant: "acme"})
			r := ask(p)
			s.Decide(r)
			if _, err := s.Explain(r); err != nil {
				t.Fatal(err)
			}
			return
		}
		es, ok := AsErrors(err)
		if !ok || len(es) == 0 {
			t.Fatalf("no list: %v", err)
		}
		lines := strings.Split(text, "\n")
		for _, e := range es {
			if e.File == "" || e.Message == "" || e.Line < 0 || e.Line > len(lines)+1 || (e.Line > 0 && e.Col < 1) {
				t.Fatalf("%+v", e)
			}
		}
	})
}
