package test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/test/gatetest"
)

// freePort is one that nobody listens on: an origin has to be known before the gateway starts.
func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// tab is somebody at the console in a real browser, with a security key of the browser's own making.
type tab struct {
	t   *testing.T
	ctx context.Context
	url string
	key webauthn.AuthenticatorID
}

func openTab(t *testing.T, url string) *tab {
	t.Helper()
	b := &tab{t: t, ctx: chromium(t), url: url}
	b.do("open", chromedp.Navigate("about:blank"))
	call(b, webauthn.Enable, webauthn.EnableParams{})
	b.key = call(b, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: "ctap2", Transport: "internal", HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
	}}).AuthenticatorID
	return b
}

// call sends the browser one command.
func call[P, R any](b *tab, c cdp.Command[P, R], params P) R {
	b.t.Helper()
	r, err := chromedp.Run(b.ctx, func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, c, params) })
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	if what == "open" {
		ctx = b.ctx // the browser lives as long as the context of its first call
	}
	if err := chromedp.Do(ctx, actions...); err != nil {
		text, _ := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS("body")))
		b.t.Fatalf("%s: %v\n%s", what, err, text)
	}
}

func (b *tab) text(sel string) string {
	b.t.Helper()
	s, err := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS(sel)))
	if err != nil {
		b.t.Fatalf("%s: %v", sel, err)
	}
	return s
}

func see(sel string) chromedp.Action[chromedp.Void]   { return chromedp.WaitVisible(chromedp.CSS(sel)) }
func click(sel string) chromedp.Action[chromedp.Void] { return chromedp.Click(chromedp.CSS(sel)) }
func fill(sel, text string) chromedp.Action[chromedp.Void] {
	return chromedp.SendKeys(chromedp.CSS(sel), text)
}

// says waits for the page to say something.
func (b *tab) says(part string) {
	b.t.Helper()
	b.do("wait for "+part, see("#message"))
	if text := b.text("#message"); !strings.Contains(text, part) {
		b.t.Fatalf("the page says %q, not %q", text, part)
	}
}

// cookie is the session's token, as the browser keeps it from scripts.
func (b *tab) cookie() string {
	b.t.Helper()
	for _, c := range call(b, network.GetCookies, network.GetCookiesParams{}).Cookies {
		if c.Name == session.PlainCookieName {
			if !c.HTTPOnly || c.SameSite != network.CookieSameSiteLax {
				b.t.Errorf("%+v", c)
			}
			return c.Value
		}
	}
	return ""
}

// changes waits for the browser to have another token, which the old one was rotated to.
func (b *tab) changes(before string) {
	b.t.Helper()
	for range 200 {
		if now := b.cookie(); now != "" && now != before {
			return
		}
		time.Sleep(20 * time.Millisecond) // a poll of another process's work, bounded
	}
	b.t.Fatal("the session has its old token still")
}

// out signs out and waits for the first page.
func (b *tab) out() {
	b.t.Helper()
	b.do("sign out", click("#signout"), see("#signin"), see("#bypasskey"))
}

// A person whose only second factor is a passkey, in Chromium with its own authenticator, from the link to the
// reset: nothing on the way in is ours but the gateway and its pages.
func TestPasskeysInChromium(t *testing.T) {
	const password = "a walk along the quay"
	port := freePort(t)
	url := fmt.Sprintf("http://localhost:%d", port)
	g := gatetest.Start(t, gatetest.NewUpstream(t), fmt.Sprintf("console: {address: \"localhost:%d\", public_url: %q}\n", port, url))
	a := administer(t, g)
	id := a.do("POST", "/tenants/default/users", `{"user_name":"ada","name":"Ada","active":true}`)["id"].(string)
	a.do("POST", "/tenants/default/bindings", `{"subject_kind":"user","subject":"`+id+`","role":"owner"}`)
	link := a.do("POST", "/tenants/default/users/"+id+"/invite", "")["link"].(string)
	b := openTab(t, url)

	b.do("the link", chromedp.Navigate(url+link), see("#link"), fill("#link [name=password]", password), click("#link button"), see("#enrolpasskey"))
	b.do("the first passkey", click("#enrolpasskey"), see("#recovery"))
	var codes []string
	for _, line := range strings.Fields(b.text("#codes")) {
		if strings.Count(line, "-") == 3 {
			codes = append(codes, line)
		}
	}
	if len(codes) != 10 {
		t.Fatalf("%q", codes)
	}
	b.do("home", click("#kept"), see("#home"), see("#passkeys tr"))
	if made := call(b, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: b.key}).Credentials; len(made) != 1 || made[0].RpID != "localhost" || string(made[0].UserHandle) != id {
		t.Fatalf("%+v", made)
	}

	// With the passkey alone; then after the password.
	b.out()
	b.do("sign in", click("#bypasskey"), see("#home"))
	if who := b.text("#who"); !strings.HasPrefix(who, "Ada") {
		t.Error(who)
	}
	b.out()
	b.do("password and passkey", fill("#signin [name=user_name]", "ada"), fill("#signin [name=password]", password), click("#signin > button"),
		see("#secondpasskey"), click("#secondpasskey"), see("#home"))

	// Confirmed again: the session is another one.
	before := b.cookie()
	b.do("step up", see("#confirmpasskey"), click("#confirmpasskey"), see("#home"))
	b.changes(before)

	// Renewed recovery codes; another passkey has to be another device, and the last factor stays.
	b.do("new codes", click("#renew"), see("#recovery"))
	fresh := strings.Fields(b.text("#codes"))
	b.do("home", click("#kept"), see("#home"), see("#passkeys tr"))
	b.do("the same device", fill("#newpasskey [name=name]", "again"), click("#newpasskey button"))
	b.says("has a passkey for you already")
	b.do("the last factor", click("#passkeys button"))
	b.says("only second factor")

	// A device that did not see that it is her; a copy of the key that is behind; a page at another address.
	b.out()
	call(b, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: b.key, IsUserVerified: false})
	b.do("unverified", click("#bypasskey"))
	b.says("gave no passkey")
	call(b, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: b.key, IsUserVerified: true})
	key := *call(b, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: b.key}).Credentials[0]
	count := key.SignCount
	restore := func(at float64) {
		t.Helper()
		call(b, webauthn.ClearCredentials, webauthn.ClearCredentialsParams{AuthenticatorID: b.key})
		// Without the members that this browser's authenticator does not know.
		call(b, cdp.Command[map[string]any, cdp.Empty]{Method: webauthn.CommandAddCredential}, map[string]any{"authenticatorId": b.key, "credential": map[string]any{
			"credentialId": key.CredentialID, "isResidentCredential": true, "rpId": key.RpID, "privateKey": key.PrivateKey, "userHandle": key.UserHandle, "signCount": int(at),
		}})
	}
	restore(1)
	b.do("a copy", chromedp.Navigate(url+"/console/"), see("#bypasskey"), click("#bypasskey"))
	b.says("not right")
	restore(count + 10)
	b.do("another address", chromedp.Navigate(fmt.Sprintf("http://127.0.0.1:%d/console/", port)), see("#bypasskey"), click("#bypasskey"), see("#message"))
	b.do("the right one", chromedp.Navigate(url+"/console/"), see("#bypasskey"), click("#bypasskey"), see("#home"))

	// The key is lost: a recovery code, which the page speaks of; an old one does nothing.
	b.out()
	b.do("an old code", fill("#signin [name=user_name]", "ada"), fill("#signin [name=password]", password), click("#signin > button"),
		see("#second"), fill("#second [name=code]", codes[0]), click("#second > button"))
	b.says("not right")
	b.do("a new code", chromedp.SetValue(chromedp.CSS("#second [name=code]"), fresh[0]), click("#second > button"), see("#home"), see("#used"))
	if left := b.text("#left"); !strings.HasPrefix(left, "9 ") {
		t.Error(left)
	}

	// All is lost: an administrator resets, and neither the link nor the password is enough.
	reset := a.do("DELETE", "/tenants/default/users/"+id+"/second-factor", "")["link"].(string)
	b.do("signed out by it", chromedp.Navigate(url+"/console/"), see("#signin"), see("#bypasskey"))
	b.do("the removed passkey", click("#bypasskey"))
	b.says("not right")
	b.do("the password alone", fill("#signin [name=user_name]", "ada"), fill("#signin [name=password]", password), click("#signin > button"))
	b.says("link")
	b.do("the link without the password", chromedp.Navigate(url+reset), see("#reset"), fill("#reset [name=password]", "not the password"), click("#reset button"))
	b.says("not right")
	call(b, webauthn.ClearCredentials, webauthn.ClearCredentialsParams{AuthenticatorID: b.key})
	b.do("both", chromedp.SetValue(chromedp.CSS("#reset [name=password]"), password), click("#reset button"), see("#enrolpasskey"), click("#enrolpasskey"), see("#recovery"),
		click("#kept"), see("#home"), see("#passkeys tr"))

	record := g.Record()
	for _, want := range []string{"passkey.copied", "second.enrolled", "second.reset", "signin.passkey", "recovery.made", "users.reset_second"} {
		if !strings.Contains(record, want) {
			t.Errorf("%s is not on the record", want)
		}
	}
	_, token, _ := strings.Cut(reset, "#")
	for _, s := range append(codes, token, password, before) {
		if strings.Contains(record, s) || strings.Contains(g.Log.String(), s) {
			t.Errorf("%.4s... is on the record or in the log", s)
		}
	}
}
