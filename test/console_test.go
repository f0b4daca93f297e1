package test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"sallyport.dev/sallyport/test/gatetest"
)

// chromium starts a real browser, or skips.
func chromium(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("SALLYPORT_TEST_REQUIRE") == "all" {
			t.Fatalf("chromium: %v", err)
		}
		t.Skipf("chromium: %v", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), append(options, more...)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// The first owner in a real browser: the link, a password, an authenticator, a key whose name is markup.
func TestTheConsoleInChromium(t *testing.T) {
	ctx := chromium(t)
	if _, err := exec.LookPath("oathtool"); err != nil {
		t.Skipf("oathtool: %v", err)
	}
	g := gatetest.Start(t, gatetest.NewUpstream(t), "console: {address: \"127.0.0.1:0\"}\n")
	a := administer(t, g)
	url := "http://" + g.Server.ConsoleAddr().String()
	owner := a.do("POST", "/tenants/default/users", `{"user_name":"ada","name":"<img src=x onerror=alert(1)>","active":true}`)["id"].(string)
	a.do("POST", "/tenants/default/bindings", `{"subject_kind":"user","subject":"`+owner+`","role":"owner"}`)
	link := a.do("POST", "/tenants/default/users/"+owner+"/invite", "")["link"].(string)

	if err := chromedp.Listen(ctx, func(ev any) {
		if d, ok := ev.(*page.EventJavascriptDialogOpening); ok {
			t.Errorf("a script ran: %s", d.Message)
		}
	}); err != nil {
		t.Fatal(err)
	}
	run := func(what string, actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, actions...); err != nil {
			text, _ := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("body")))
			t.Fatalf("%s: %v\n%s", what, err, text)
		}
	}
	text := func(sel chromedp.CSS) string {
		t.Helper()
		s, err := chromedp.Run(ctx, chromedp.Text(sel))
		if err != nil {
			t.Fatalf("%s: %v", sel, err)
		}
		return s
	}
	run("the link", chromedp.Navigate(url+link),
		chromedp.WaitVisible(chromedp.CSS("#link")), chromedp.SendKeys(chromedp.CSS("#link [name=password]"), "a walk along the quay"), chromedp.Click(chromedp.CSS("#link button")),
		chromedp.WaitVisible(chromedp.CSS("#enrol")))
	seed := text("#seed")
	run("the authenticator", chromedp.SendKeys(chromedp.CSS("#enrol [name=code]"), oathtool(t, seed, "now")), chromedp.Click(chromedp.CSS("#enrol button")),
		chromedp.WaitVisible(chromedp.CSS("#recovery")), chromedp.Click(chromedp.CSS("#kept")),
		chromedp.WaitVisible(chromedp.CSS("#home")))
	if who := text("#who"); !strings.HasPrefix(who, "<img src=x") {
		t.Errorf("the name is not shown as text: %q", who)
	}
	run("a key", chromedp.SendKeys(chromedp.CSS("#newkey [name=name]"), "<script>alert(2)</script>"), chromedp.Click(chromedp.CSS("#newkey button")),
		chromedp.WaitVisible(chromedp.CSS("#secret")), chromedp.WaitVisible(chromedp.CSS("#keys tr")))
	if secret, keys := text("#secret"), text("#keys"); !strings.Contains(secret, "sp_live_") || !strings.Contains(keys, "<script>alert(2)</script>") {
		t.Errorf("%q %q", secret, keys)
	}
	inline, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`(() => { try { document.getElementById("who").innerHTML = "<b>x</b>"; return true } catch { return false } })()`))
	if err != nil || inline {
		t.Error("the page lets a string become markup", err)
	}
	run("the way out", chromedp.Click(chromedp.CSS("#signout")), chromedp.WaitVisible(chromedp.CSS("#signin")))
	run("the way back", chromedp.SendKeys(chromedp.CSS("#signin [name=user_name]"), "ada"), chromedp.SendKeys(chromedp.CSS("#signin [name=password]"), "a walk along the quay"), chromedp.Click(chromedp.CSS("#signin button")),
		chromedp.WaitVisible(chromedp.CSS("#second")), chromedp.SendKeys(chromedp.CSS("#second [name=code]"), oathtool(t, seed, "+30 seconds")), chromedp.Click(chromedp.CSS("#second button")),
		chromedp.WaitVisible(chromedp.CSS("#home")), chromedp.WaitVisible(chromedp.CSS("#sessions tr")))
}
