package test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// An incident while PostgreSQL is away: all keys of a service end at both gateways, nobody else's does, and
// they have ended in the database when it is back, although the gateway that was asked started again. Then
// once more with Redis away too.
func TestManyKeysEndWithoutTheDatabase(t *testing.T) {
	c := newCluster(t, ", offline: 30s")
	service := func(name string) string {
		return c.admin[0].do("POST", "/tenants/default/services", `{"name":"`+name+`"}`)["id"].(string)
	}
	robot, other := service("robot"), service("other")
	const many = 120 // more than one event of the record names
	keys := map[string]string{}
	for range many {
		id, plain := c.admin[0].key(`,"principal":"` + robot + `"`)
		keys[id] = plain
	}
	_, stays := c.admin[0].key(`,"principal":"` + other + `"`)
	here := map[string]string{}
	for range 3 {
		id, plain := c.admin[0].key(`,"principal":"` + other + `","class":"standard","purpose":"second"`)
		here[id] = plain
	}
	c.after(func() {}, 200, bearer(stays))
	for _, plain := range here {
		c.after(func() {}, 200, bearer(plain))
	}
	last := ""
	for _, last = range keys {
		c.after(func() {}, 200, bearer(last))
	}
	revoke := func(gate int, filter string) (int, map[string]any) {
		return c.admin[gate].try("POST", "/tenants/default/keys-revoke", filter)
	}

	c.pg.Kill9(t)
	if status, m := revoke(1, `{}`); status != 422 {
		t.Errorf("a filter that names nothing: %d %v", status, m)
	}
	if status, m := c.admin[1].try("POST", "/tenants/system/keys-revoke", `{"all":true}`); status != 200 || len(m["done"].([]any)) != 0 || !strings.Contains(m["pending"].(string), "knows no living key") {
		t.Errorf("another tenant: %d %v", status, m)
	}
	c.within("many revocations without the database", c.after(func() {
		status, m := revoke(1, `{"principal":"`+robot+`"}`)
		if status != 200 || len(m["done"].([]any)) != many || m["failed"] != nil || m["left"] != nil || !strings.HasPrefix(m["pending"].(string), "all gateways refuse them") {
			t.Errorf("%d %.300v", status, m)
		}
		for _, n := range m["done"].([]any) {
			k := n.(map[string]any)["key"].(map[string]any)
			if keys[k["id"].(string)] == "" || k["status"] != "revoked" || k["pending"] == nil {
				t.Errorf("%v", k)
			}
		}
	}, 401, bearer(last)), 2*time.Second)
	for i, g := range c.gates {
		for id, plain := range keys {
			if res := do(t, g.URL, bearer(plain)); res.status != 401 {
				t.Errorf("gateway %d, key %s: %d", i, id, res.status)
			}
		}
		if res := do(t, g.URL, bearer(stays)); res.status != 200 {
			t.Errorf("gateway %d: another's key ended too: %d", i, res.status)
		}
	}
	if status, m := revoke(0, `{"principal":"`+robot+`"}`); status != 200 || len(m["done"].([]any)) != 0 {
		t.Errorf("again: %d %.300v", status, m)
	}
	// Without Redis the answer says that only this gateway knows.
	c.redis.Kill()
	ids := []string{}
	for id := range here {
		ids = append(ids, id)
	}
	status, m := revoke(1, toJSON(map[string]any{"ids": ids}))
	if status != 200 || len(m["done"].([]any)) != len(here) || !strings.HasPrefix(m["pending"].(string), "this gateway refuses them") {
		t.Errorf("%d %v", status, m)
	}
	for _, plain := range here {
		if one, two := do(t, c.gates[0].URL, bearer(plain)).status, do(t, c.gates[1].URL, bearer(plain)).status; one != 200 || two != 401 {
			t.Errorf("%d at the gateway that was not told, %d at the other", one, two)
		}
	}
	c.gates[1].Close() // its file is all that knows of these
	c.pg.Restart(t)
	c.redis.Up()
	c.gates[1].Open()
	c.admin[1] = administer(t, c.gates[1])
	c.after(func() {}, 200, bearer(stays))
	for id, plain := range here {
		c.after(func() {}, 401, bearer(plain))
		keys[id] = plain
	}
	for id := range keys {
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			if status, m := c.admin[0].try("GET", "/tenants/default/keys/"+id, ""); status == 200 && m["status"] == "revoked" {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("the database was not told of %s", id)
			}
		}
	}
	// Every key is named in the record, though one event does not hold them all.
	c.gates[1].Close()
	record := ""
	for _, file := range holds(t, c.gates[1].Dir, `admin.keys.revoke_many`) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		record += string(text)
	}
	for id := range keys {
		if !strings.Contains(record, id) {
			t.Errorf("the record does not name %s", id)
		}
	}
	if want := fmt.Sprintf(`\"done\":%d`, many); !strings.Contains(record, want) {
		t.Errorf("the record lacks %s", want)
	}
}
