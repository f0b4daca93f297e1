package test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"sallyport.dev/sallyport/internal/iam/federation/idptest"
	"sallyport.dev/sallyport/test/gatetest"
)

// chrome is a page of a real browser.
type chrome struct {
	t   *testing.T
	ctx context.Context
}

func newChrome(t *testing.T) *chrome {
	t.Helper()
	ctx := chromium(t, chromedp.IgnoreCertErrors)
	if err := chromedp.Listen(ctx, func(ev any) {
		if d, ok := ev.(*page.EventJavascriptDialogOpening); ok {
			t.Errorf("a script ran: %s", d.Message)
		}
	}); err != nil {
		t.Fatal(err)
	}
	return &chrome{t, ctx}
}

func (b *chrome) run(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		text, _ := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS("body")))
		b.t.Fatalf("%s: %v\n%s", what, err, text)
	}
}

func (b *chrome) text(sel chromedp.CSS) string {
	b.t.Helper()
	s, err := chromedp.Run(b.ctx, chromedp.Text(sel))
	if err != nil {
		b.t.Fatalf("%s: %v", sel, err)
	}
	return s
}

// In a real browser, which knows what is cross-site: from the button on the page to SimpleSAMLphp and back
// by its post, and then a second factor of our own, since a provider of SAML steps nobody up.
func TestSAMLInChromium(t *testing.T) {
	b := newChrome(t)
	console := idptest.Port(t)
	url := fmt.Sprintf("https://127.0.0.1:%d", console)
	cert, key, _ := certificate(t)
	here := url + "/console/sso/default/corp/"
	idp := idptest.StartSimpleSAML(t, `$metadata['`+here+`metadata'] = ['AssertionConsumerService' => '`+here+`acs', 'NameIDFormat' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent', 'saml20.sign.response' => true];`)
	g := gatetest.Start(t, gatetest.NewUpstream(t), fmt.Sprintf("console: {address: \"127.0.0.1:%d\", tls: {cert: %q, key: %q}}\n", console, cert, key))
	a := administer(t, g)
	a.do("POST", "/tenants/default/identity-providers", quote(map[string]any{
		"name": "corp", "title": "<img src=x onerror=alert(1)>", "protocol": "saml", "issuer": idp.URL() + "/idp", "metadata": string(idp.Metadata()), "create": true,
	}))
	b.run("to the provider", chromedp.Navigate(url+"/console/"), chromedp.WaitVisible(chromedp.CSS("#providers a")))
	if got := b.text("#providers a"); got != "Sign in with <img src=x onerror=alert(1)>" {
		t.Errorf("%q", got)
	}
	b.run("at the provider", chromedp.Click(chromedp.CSS("#providers a")), chromedp.WaitVisible(chromedp.CSS("input[name=username]")),
		chromedp.SendKeys(chromedp.CSS("input[name=username]"), "ada"), chromedp.SendKeys(chromedp.CSS("input[name=password]"), "right\r"),
		chromedp.WaitVisible(chromedp.CSS("#home")))
	if who := b.text("#who"); !strings.HasPrefix(who, "Ada Lovelace") {
		t.Errorf("%q", who)
	}
	b.run("a second factor", chromedp.Click(chromedp.CSS("#elsewhere button")), chromedp.WaitVisible(chromedp.CSS("#enrol")))
	seed := b.text("#seed")
	b.run("its code", chromedp.SendKeys(chromedp.CSS("#enrol [name=code]"), oathtool(t, seed, "now")), chromedp.Click(chromedp.CSS("#enrol button")),
		chromedp.WaitVisible(chromedp.CSS("#recovery")), chromedp.Click(chromedp.CSS("#kept")), chromedp.WaitVisible(chromedp.CSS("#home")), chromedp.WaitVisible(chromedp.CSS("#sessions tr")))
	if fresh := b.text("#fresh"); !strings.HasPrefix(fresh, "Confirmed until") {
		t.Errorf("%q", fresh)
	}
	// The second visit needs no password there, and is no second factor here.
	b.run("out and in", chromedp.Click(chromedp.CSS("#signout")), chromedp.WaitVisible(chromedp.CSS("#signin")), chromedp.WaitVisible(chromedp.CSS("#providers a")), chromedp.Click(chromedp.CSS("#providers a")),
		chromedp.WaitVisible(chromedp.CSS("#home")), chromedp.WaitVisible(chromedp.CSS("#sessions tr")))
	if fresh := b.text("#fresh"); strings.HasPrefix(fresh, "Confirmed until") {
		t.Errorf("%q", fresh)
	}
	b.run("a step-up", chromedp.SendKeys(chromedp.CSS("#stepup [name=code]"), oathtool(t, seed, "+30 seconds")), chromedp.Click(chromedp.CSS("#confirm")))
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](`document.getElementById("fresh").textContent.startsWith("Confirmed until")`)); err != nil {
		t.Errorf("%v: %s", err, b.text("body"))
	}
}

// zitadel's provider is another site to the browser (localhost and not 127.0.0.1): what it sends back comes
// with the session that began the step-up, and is refused for one factor, not for want of a session.
func TestStepUpFromAnotherSiteInChromium(t *testing.T) {
	b := newChrome(t)
	console, op := idptest.Port(t), idptest.Port(t)
	url := idptest.Local(console)
	idptest.StartZitadel(t, op, url+"/console/sso/default/corp/callback")
	g := gatetest.Start(t, gatetest.NewUpstream(t), fmt.Sprintf("console: {address: \"127.0.0.1:%d\"}\n", console))
	a := administer(t, g)
	a.do("POST", "/tenants/default/identity-providers", quote(map[string]any{
		"name": "corp", "title": "Corp", "protocol": "oidc", "issuer": fmt.Sprintf("http://localhost:%d/", op), "client_id": "web", "client_secret": "secret", "user_info": true,
		"scopes": []string{"profile", "email"}, "create": true,
	}))
	login := []chromedp.Action[chromedp.Void]{chromedp.WaitVisible(chromedp.CSS("input[name=username]")), chromedp.SendKeys(chromedp.CSS("input[name=username]"), "test-user@localhost"),
		chromedp.SendKeys(chromedp.CSS("input[name=password]"), "verysecure\r"), chromedp.WaitVisible(chromedp.CSS("#home"))}
	b.run("to the provider", chromedp.Navigate(url+"/console/"), chromedp.WaitVisible(chromedp.CSS("#providers a")), chromedp.Click(chromedp.CSS("#providers a")))
	b.run("in", login...)
	b.run("a step-up", chromedp.Click(chromedp.CSS("#elsewhere a")))
	b.run("back", login...)
	if msg := b.text("#message"); !strings.HasPrefix(msg, "The sign-in failed") {
		t.Errorf("%q", msg)
	}
	if text := g.Record(); !strings.Contains(text, "the provider showed no second factor") || strings.Contains(text, "no session to step up") {
		t.Error("the step-up was refused for another reason")
	}
}
