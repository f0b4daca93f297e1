package test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"sallyport.dev/sallyport/test/gatetest"
)

// person makes somebody with a role and signs them in, with a password and an authenticator.
func person(t *testing.T, a *administrator, url, name, role, email string) (*browser, string) {
	t.Helper()
	id := a.do("POST", "/tenants/default/users", `{"user_name":"`+name+`","name":"`+name+`","email":"`+email+`","active":true}`)["id"].(string)
	if role != "" {
		a.do("POST", "/tenants/default/bindings", `{"subject_kind":"user","subject":"`+id+`","role":"`+role+`"}`)
	}
	_, link, _ := strings.Cut(a.do("POST", "/tenants/default/users/"+id+"/invite", "")["link"].(string), "#")
	b := newBrowser(t, url)
	ticket := b.must(200, "POST", "/signin/link", `{"link":"`+link+`","password":"a walk along the quay, `+name+`"}`)["ticket"].(string)
	seed := b.must(200, "POST", "/signin/enrol", `{"ticket":"`+ticket+`"}`)["seed"].(string)
	b.must(200, "POST", "/signin/confirm", `{"ticket":"`+ticket+`","code":"`+oathtool(t, seed, "now")+`"}`)
	return b, id
}

// Two people's story: what one of them alone cannot do, whatever they try, and what both can.
func TestFourEyes(t *testing.T) {
	if _, err := exec.LookPath("oathtool"); err != nil {
		if os.Getenv("SALLYPORT_TEST_REQUIRE") == "all" {
			t.Fatalf("oathtool: %v", err)
		}
		t.Skipf("oathtool: %v", err)
	}
	g := gatetest.Start(t, gatetest.NewUpstream(t), "console: {address: \"127.0.0.1:0\"}\niam: {four_eyes: [\"*\"]}\n")
	a := administer(t, g)
	url := "http://" + g.Server.ConsoleAddr().String()
	const changes = "/tenants/default/changes"
	ada, _ := person(t, a, url, "ada", "owner", "ada@example.com")
	grace, graceID := person(t, a, url, "grace", "admin", "grace@example.com")
	twin, _ := person(t, a, url, "ada2", "owner", "Ada@example.com")
	auditor, _ := person(t, a, url, "otto", "auditor", "otto@example.com")

	policy := a.do("POST", "/tenants/default/policies", `{"name":"p","text":"forbid(principal, action, resource);","off":true}`)["id"].(string)
	at := "/tenants/default/policies/" + policy
	ask := func() string {
		t.Helper()
		m := ada.must(202, "DELETE", at, "")
		if m["code"] != "approval_required" {
			t.Fatalf("%v", m)
		}
		return m["approval"].(string)
	}
	id := ask()
	ada.must(200, "GET", at, "") // nothing was done

	// Neither alone, nor as another account of theirs, nor by who may not, nor by the machine.
	ada.must(403, "DELETE", at, "", "Sallyport-Approval", id)
	ada.must(403, "POST", changes+"/"+id+"/approve", "")
	twin.must(403, "POST", changes+"/"+id+"/approve", "")
	auditor.must(403, "POST", changes+"/"+id+"/approve", "")
	auditor.must(403, "POST", changes+"/"+id+"/refuse", "")
	if status := a.status("POST", changes+"/"+id+"/approve"); status != 403 {
		t.Errorf("the machine approves: %d", status)
	}
	grace.must(404, "POST", changes+"/chg_0/approve", "")
	grace.must(404, "POST", "/tenants/system/changes/"+id+"/approve", "")
	ada.must(200, "GET", at, "")

	grace.must(200, "POST", changes+"/"+id+"/approve", "")
	grace.must(409, "POST", changes+"/"+id+"/approve", "")
	// What was approved is this, by her, once.
	grace.must(403, "DELETE", at, "", "Sallyport-Approval", id)
	ada.must(403, "DELETE", at, "", "Sallyport-Approval", id, "If-Match", `"1"`)
	ada.must(403, "PUT", at, `{"name":"p","text":"","off":true}`, "Sallyport-Approval", id)
	ada.must(204, "DELETE", at, "", "Sallyport-Approval", id)
	ada.must(403, "DELETE", at, "", "Sallyport-Approval", id)
	ada.must(404, "GET", at, "")

	// Refused by who asked, and by the machine; an approver who left has not approved.
	policy = a.do("POST", "/tenants/default/policies", `{"name":"q","text":"forbid(principal, action, resource);","off":true}`)["id"].(string)
	at = "/tenants/default/policies/" + policy
	id = ask()
	ada.must(200, "POST", changes+"/"+id+"/refuse", "")
	grace.must(409, "POST", changes+"/"+id+"/approve", "")
	id = ask()
	grace.must(200, "POST", changes+"/"+id+"/approve", "")
	if status := a.status("POST", changes+"/"+id+"/refuse"); status != 200 {
		t.Errorf("the machine cannot refuse: %d", status)
	}
	ada.must(403, "DELETE", at, "", "Sallyport-Approval", id)
	id = ask()
	grace.must(200, "POST", changes+"/"+id+"/approve", "")
	a.do("PUT", "/tenants/default/users/"+graceID, `{"user_name":"grace","name":"grace","active":false}`)
	ada.must(403, "DELETE", at, "", "Sallyport-Approval", id)
	ada.must(200, "GET", at, "")

	states := map[string]int{}
	for _, i := range auditor.must(200, "GET", changes, "")["items"].([]any) {
		states[i.(map[string]any)["state"].(string)]++
	}
	if states["done"] != 1 || states["refused"] != 2 || states["approved"] != 1 {
		t.Errorf("%v", states)
	}
	g.Close()
	if len(holds(t, g.Dir, "admin.changes.approve")) == 0 || len(holds(t, g.Dir, `"approval":"chg_`)) == 0 {
		t.Error("the record does not name approvals")
	}
}
