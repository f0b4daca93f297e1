package oidc

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/oauth2"

	"sallyport.dev/sallyport/internal/iam/federation"
)

// Start begins a sign-in. The caller sends the browser to Pending.URL with the cookie.
func (p *Provider) Start(ctx context.Context, ask federation.Ask) (*federation.Pending, error) {
	m, err := p.about.get(ctx)
	if err != nil {
		return nil, err
	}
	l, err := federation.NewLogin(ask, p.o.Now())
	if err != nil {
		return nil, err
	}
	l.State, l.Nonce, l.Verifier = federation.Random(), federation.Random(), oauth2.GenerateVerifier()
	// S256 always, also where the provider does not say that it knows it (RFC 9700 section 2.1.1).
	opts := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(l.Verifier), oauth2.SetAuthURLParam("nonce", l.Nonce)}
	switch {
	case l.StepUp:
		opts = append(opts, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	case l.MaxAge > 0:
		opts = append(opts, oauth2.SetAuthURLParam("max_age", strconv.FormatInt(l.MaxAge, 10)))
	}
	if len(l.ACR) > 0 {
		opts = append(opts, oauth2.SetAuthURLParam("acr_values", strings.Join(l.ACR, " ")))
	}
	if ask.Hint != "" {
		opts = append(opts, oauth2.SetAuthURLParam("login_hint", ask.Hint))
	}
	cookie, err := p.o.Sealer.Seal(protocol, p.o.Name, l)
	if err != nil {
		return nil, err
	}
	return &federation.Pending{URL: p.oauth(m).AuthCodeURL(l.State, opts...), Cookie: cookie, Expires: l.Expires}, nil
}

func (p *Provider) oauth(m *metadata) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.o.ClientID, ClientSecret: p.o.ClientSecret.Reveal(), RedirectURL: p.o.RedirectURL, Scopes: slices.Clone(p.o.Scopes),
		Endpoint: oauth2.Endpoint{AuthURL: m.authorize, TokenURL: m.token, AuthStyle: m.style},
	}
}

// LogoutURL is where to send a browser whose person wants to leave the provider, too (OpenID Connect
// RP-Initiated Logout 1.0), and back to returnTo, which is registered there. It is empty for a
// provider that offers none.
func (p *Provider) LogoutURL(ctx context.Context, returnTo string) (string, error) {
	m, err := p.about.get(ctx)
	if err != nil || m.endSession == "" {
		return "", err
	}
	u, err := url.Parse(m.endSession)
	if err != nil {
		return "", err
	}
	q := u.Query()
	q.Set("client_id", p.o.ClientID)
	if returnTo != "" {
		q.Set("post_logout_redirect_uri", returnTo)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}
