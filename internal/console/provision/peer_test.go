package provision

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/iam/federation/idptest"
)

func peers(t *testing.T) string {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "test", "scim", "node")
	if _, err := exec.LookPath("node"); err != nil {
		idptest.Missing(t, "node is not installed")
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		idptest.Missing(t, "the SCIM peers are not installed: run `npm ci --ignore-scripts` in test/scim/node")
	}
	return dir
}

// scimmy is scimmy-routers, another implementation of the protocol.
type scimmy struct {
	t    *testing.T
	base string
}

func (s *scimmy) send(method, path, body string) (int, map[string]any) {
	s.t.Helper()
	r, err := http.NewRequest(method, s.base+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer right")
	if body != "" {
		r.Header.Set("Content-Type", "application/scim+json")
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	var m map[string]any
	_ = json.Unmarshal(b, &m)
	return res.StatusCode, m
}

// plain takes out what two services have each their own of, and what they may say or not: ids are numbered
// in the order in which they were made.
func plain(v any, ids map[string]string) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			switch k {
			case "meta", "schemas", "detail", "$ref", "display", "groups", "itemsPerPage", "startIndex":
				continue
			}
			if m, ok := x.(map[string]any); ok && len(m) == 0 {
				continue
			}
			if l, ok := x.([]any); ok && len(l) == 0 {
				continue
			}
			if k == "type" && (x == "User" || x == "direct") {
				continue // of a member: said or not
			}
			out[k] = plain(x, ids)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = plain(x, ids)
		}
		slices.SortFunc(out, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		return out
	case string:
		if n, ok := ids[v]; ok {
			return n
		}
	}
	return v
}

// The same requests to scimmy-routers and to us come to the same answers. Known differences, to which the
// requests do not go, or which are not counted:
//   - a filter on what somebody does not have is an error there ("Cannot convert undefined or null to object");
//   - letter case counts there in every filter; RFC 7643 2.2 has it count where caseExact says so;
//   - a value that is added twice is there twice; RFC 7644 3.5.2.1 has it once;
//   - whether a member is anybody is not looked at there, and who is deleted stays a member;
//   - a patch of somebody who is gone is first checked there, and first looked for here;
//   - a replace whose filter finds nothing adds there; RFC 7644 3.5.2.3 has it fail, as it does here;
//   - a patch that changes nothing is answered 204 there, 200 with the resource here; both are allowed.
func TestAgainstScimmy(t *testing.T) {
	dir := peers(t)
	port := idptest.Port(t)
	cmd := exec.Command("node", "server.js")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), fmt.Sprint("PORT=", port))
	idptest.Start(t, idptest.Local(port)+"/ready", cmd)
	other := &scimmy{t, idptest.Local(port) + "/scim/v2"}
	d := newDesk(t)
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	ours, theirs := map[string]string{}, map[string]string{}
	var people, groups [][2]string // our id, their id
	gone := map[string]bool{}      // scimmy does not look whether a member is somebody
	compared, differ := 0, 0
	both := func(method, ourPath, theirPath, ourBody, theirBody string) (int, map[string]any, map[string]any) {
		t.Helper()
		res, m := d.send(method, ourPath, ourBody)
		status, n := other.send(method, theirPath, theirBody)
		if status == http.StatusNoContent && method == "PATCH" { // nothing changed
			status, n = other.send("GET", theirPath, "")
		}
		compared++
		if res.StatusCode != status {
			differ++
			t.Errorf("%s %s %s: %d %v here, %d %v there", method, ourPath, ourBody, res.StatusCode, m, status, n)
		}
		return status, m, n
	}
	check := func(what string, m, n map[string]any) {
		t.Helper()
		a, _ := json.Marshal(plain(m, ours))
		b, _ := json.Marshal(plain(n, theirs))
		if !bytes.Equal(a, b) {
			differ++
			t.Errorf("%s:\n here %s\nthere %s", what, a, b)
		}
	}
	for step := range 400 {
		switch rng.IntN(10) {
		case 0, 1: // somebody new, or a name that is taken
			name := fmt.Sprintf("user%d", rng.IntN(40))
			body := fmt.Sprintf(`{%s,"userName":%q,"active":%s,"title":%q,"name":{"givenName":%q,"familyName":"F"},"emails":[{"value":"%s@work.test","type":"work","primary":true},{"value":"%s@home.test","type":"home"}]}`,
				u, name, pick("true", "false"), pick("a", "b", "c"), pick("Ada", "Bob"), name, name)
			status, m, n := both("POST", "/Users", "/Users", body, body)
			if status == 201 && m["id"] != nil && n["id"] != nil {
				id := fmt.Sprint("user ", len(people))
				ours[m["id"].(string)], theirs[n["id"].(string)] = id, id
				people = append(people, [2]string{m["id"].(string), n["id"].(string)})
				check("a person", m, n)
			}
		case 2: // a group
			name := fmt.Sprintf("group%d", rng.IntN(12))
			body := func(i int) string {
				var ms []string
				for k, x := range people {
					if k%3 == step%3 && k < 6 && !gone[x[0]] {
						ms = append(ms, fmt.Sprintf(`{"value":%q}`, x[i]))
					}
				}
				return fmt.Sprintf(`{%s,"displayName":%q,"members":[%s]}`, g, name, strings.Join(ms, ","))
			}
			status, m, n := both("POST", "/Groups", "/Groups", body(0), body(1))
			if status == 201 {
				id := fmt.Sprint("group ", len(groups))
				ours[m["id"].(string)], theirs[n["id"].(string)] = id, id
				groups = append(groups, [2]string{m["id"].(string), n["id"].(string)})
				check("a group", m, n)
			}
		case 3, 4, 5: // a patch of a person
			if len(people) == 0 {
				continue
			}
			x := people[rng.IntN(len(people))]
			if gone[x[0]] {
				continue
			}
			op := pick(
				`{"op":"replace","path":"title","value":"`+pick("a", "b", "c")+`"}`,
				`{"op":"remove","path":"title"}`,
				`{"op":"add","path":"nickName","value":"`+pick("x", "y")+`"}`,
				`{"op":"replace","path":"name.givenName","value":"`+pick("Ada", "Eve")+`"}`,
				`{"op":"replace","path":"active","value":`+pick("true", "false")+`}`,
				`{"op":"replace","value":{"title":"`+pick("a", "d")+`","nickName":"z"}}`,
				`{"op":"replace","path":"phoneNumbers","value":[{"value":"`+pick("1", "2")+`","type":"`+pick("work", "mobile")+`"}]}`,
				`{"op":"remove","path":"phoneNumbers"}`,
				`{"op":"replace","path":"emails[type eq \"work\"].value","value":"`+pick("n", "m")+`@work.test"}`,
				`{"op":"remove","path":"userName"}`, `{"op":"remove"}`, `{"op":"nothing","path":"title","value":"x"}`, `{"op":"add","path":"nothing","value":"x"}`,
				`{"op":"replace","path":"emails[","value":"x"}`,
			)
			body := `{` + p + `,"Operations":[` + op + `]}`
			status, m, n := both("PATCH", "/Users/"+x[0], "/Users/"+x[1], body, body)
			if status == 200 {
				check(op, m, n)
			}
		case 6: // members come and go
			if len(groups) == 0 || len(people) == 0 {
				continue
			}
			x, who, verb := groups[rng.IntN(len(groups))], people[rng.IntN(len(people))], pick("add", "remove")
			body := func(i int) string {
				if verb == "add" {
					return `{` + p + `,"Operations":[{"op":"add","path":"members","value":[{"value":"` + who[i] + `"}]}]}`
				}
				return `{` + p + `,"Operations":[{"op":"remove","path":"members[value eq \"` + who[i] + `\"]"}]}`
			}
			if gone[who[0]] {
				continue
			}
			if _, m := d.send("GET", "/Groups/"+x[0], ""); strings.Contains(fmt.Sprint(m["members"]), who[0]) != (verb == "remove") {
				continue
			}
			status, m, n := both("PATCH", "/Groups/"+x[0], "/Groups/"+x[1], body(0), body(1))
			if status == 200 {
				check("members", m, n)
			}
		case 7: // a question
			f := pick(`title eq "a"`, `title eq "a" and active eq true`, `emails[type eq "work" and value sw "user1"]`, `name.givenName eq "Ada" or title eq "b"`,
				`not (title eq "a")`, `nickName pr`, `userName sw "user1"`, `userName co "3"`, `userName eq "user3"`, `emails.value eq "user2@home.test"`, `title ne "a" and nickName pr`)
			path := "/Users?filter=" + url.QueryEscape(f)
			if _, n := other.send("GET", path, ""); strings.HasPrefix(fmt.Sprint(n["detail"]), "Cannot convert undefined") {
				continue
			}
			_, m, n := both("GET", path, path, "", "")
			if m["totalResults"] != n["totalResults"] {
				differ++
				t.Errorf("%s: %v here, %v there", f, m["totalResults"], n["totalResults"])
				continue
			}
			check(f, m, n)
		case 8: // a whole person again
			if len(people) == 0 {
				continue
			}
			i := rng.IntN(len(people))
			x := people[i]
			_, now := d.send("GET", "/Users/"+x[0], "")
			name, _ := now["userName"].(string)
			if name == "" {
				name = "gone"
			}
			body := fmt.Sprintf(`{%s,"userName":%q,"active":true,"title":%q}`, u, name, pick("a", "e"))
			status, m, n := both("PUT", "/Users/"+x[0], "/Users/"+x[1], body, body)
			if status == 200 {
				check("replaced", m, n)
			}
		case 9:
			if rng.IntN(4) == 0 && len(people) > 0 {
				x := people[rng.IntN(len(people))]
				both("DELETE", "/Users/"+x[0], "/Users/"+x[1], "", "")
				gone[x[0]] = true
				// They stay members there; here they go with themselves.
				for _, gr := range groups {
					other.send("PATCH", "/Groups/"+gr[1], `{`+p+`,"Operations":[{"op":"remove","path":"members[value eq \"`+x[1]+`\"]"}]}`)
				}
			} else if len(people) > 0 {
				x := people[rng.IntN(len(people))]
				status, m, n := both("GET", "/Users/"+x[0], "/Users/"+x[1], "", "")
				if status == 200 {
					check("read", m, n)
				}
			}
		}
	}
	t.Logf("%d requests compared, %d differences", compared, differ)
	if compared < 200 {
		t.Errorf("only %d requests", compared)
	}
}

// Filters mean what they mean to another parser: generated ones on generated people.
func TestFiltersAgainstAnotherParser(t *testing.T) {
	dir := peers(t)
	rng := rand.New(rand.NewPCG(3, 4))
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	var gen func(depth int) string
	gen = func(depth int) string {
		switch n := rng.IntN(10); {
		case depth > 0 && n < 2:
			return gen(depth-1) + pick(" and ", " or ") + gen(depth-1)
		case depth > 0 && n == 2:
			return "(" + gen(depth-1) + ")"
		case depth > 0 && n == 3:
			return "not (" + gen(depth-1) + ")"
		case n == 4:
			// One term: the other parser takes two for terms about any two values, where RFC 7644 means one.
			return `emails[` + pick(`type eq "work"`, `value co "home"`, `value sw "x"`, `primary eq true`) + `]`
		case n == 5:
			return pick("title", "nickName", "emails", "name.familyName", "active") + " pr"
		}
		return pick("userName", "title", "name.givenName", "nickName") + " " + pick("eq", "co", "sw", "ew") + ` "` + pick("a", "ada", "b", "x", "work") + `"`
	}
	d := newDesk(t)
	id := d.must(201, "POST", "/Users", `{`+u+`,"userName":"ada","title":"b","active":true,"name":{"givenName":"ada","familyName":"l"},"emails":[{"value":"a@work.test","type":"work","primary":true},{"value":"b@home.test","type":"home"}]}`)["id"].(string)
	res := d.must(200, "GET", "/Users/"+id, "")
	type question struct {
		Filter   string         `json:"filter"`
		Resource map[string]any `json:"resource"`
	}
	var qs []question
	for range 600 {
		qs = append(qs, question{gen(3), res})
	}
	for _, f := range []string{`userName eq`, `eq "a"`, `(title pr`, `title pr)`, `title zz "a"`, `and`, `emails[type eq "x"`} {
		qs = append(qs, question{f, res})
	}
	in, _ := json.Marshal(qs)
	cmd := exec.Command("node", "filter.js")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var want []*bool
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	trues := 0
	for i, q := range qs {
		r, m := d.send("GET", "/Users?filter="+url.QueryEscape(q.Filter), "")
		switch {
		case want[i] == nil:
			if r.StatusCode != 400 {
				t.Errorf("%s: %d, and the other parser refuses it", q.Filter, r.StatusCode)
			}
		case r.StatusCode != 200:
			t.Errorf("%s: %d %v", q.Filter, r.StatusCode, m)
		case (m["totalResults"] == 1.0) != *want[i]:
			t.Errorf("%s: %v here, %t there", q.Filter, m["totalResults"], *want[i])
		case *want[i]:
			trues++
		}
	}
	if trues < 50 || trues > 550 {
		t.Errorf("%d of %d are true: the test shows little", trues, len(qs))
	}
}
