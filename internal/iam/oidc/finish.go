package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"golang.org/x/oauth2"

	"sallyport.dev/sallyport/internal/iam/federation"
)

const (
	maxCode  = 4 << 10
	maxToken = 64 << 10
)

// Finish ends a sign-in with what the browser brought back: the query of the redirect URL, and the
// cookie of Start. A *federation.Refusal says that the sign-in is refused; any other error, that it
// could not be judged. Whatever came of it, the cookie is spent.
func (p *Provider) Finish(ctx context.Context, query url.Values, cookie string) (*federation.Signed, error) {
	now := p.o.Now()
	l, err := p.o.Sealer.Open(protocol, p.o.Name, cookie, now)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"state", "code", "iss", "error"} {
		if len(query[name]) > 1 {
			return nil, federation.Refuse("oidc: " + name + " stands twice in the response")
		}
	}
	// The response belongs to the sign-in that this browser began (RFC 6749 section 10.12).
	if !federation.Same(query.Get("state"), l.State) {
		return nil, federation.Refuse("oidc: the response is not for the sign-in of this browser")
	}
	m, err := p.about.get(ctx)
	if err != nil {
		return nil, err
	}
	// Mix-up: another provider's response is not taken to this one (RFC 9207 section 2.4).
	if _, given := query["iss"]; given && query.Get("iss") != p.o.Issuer || !given && m.iss {
		return nil, federation.Refuse("oidc: the response does not come from this issuer")
	}
	if err := l.Use(ctx, p.o.Once); err != nil {
		return nil, err
	}
	if code := query.Get("error"); code != "" {
		return nil, federation.Refuse("oidc: the provider answers " + shown(code))
	}
	code := query.Get("code")
	if code == "" || len(code) > maxCode {
		return nil, federation.Refuse("oidc: the response holds no code")
	}
	access, raw, err := p.exchange(ctx, m, code, l.Verifier)
	if err != nil {
		return nil, err
	}
	d, alg, err := p.verify(ctx, raw, "JWT")
	if err != nil {
		return nil, err
	}
	if err := p.checkIDToken(d, alg, access, l); err != nil {
		return nil, err
	}
	a, err := p.assertion(ctx, m, d, access)
	if err != nil {
		return nil, err
	}
	if err := l.Check(a, p.o.Now(), p.o.Skew); err != nil {
		return nil, err
	}
	return &federation.Signed{Assertion: *a, Return: l.Return, StepUp: l.StepUp}, nil
}

// exchange spends the code at the token endpoint.
func (p *Provider) exchange(ctx context.Context, m *metadata, code, verifier string) (access, idToken string, err error) {
	ctx = context.WithValue(ctx, oauth2.HTTPClient, p.client)
	t, err := p.oauth(m).Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		// Its text may hold the whole answer, which is not ours to repeat.
		var r *oauth2.RetrieveError
		if !errors.As(err, &r) {
			return "", "", fmt.Errorf("oidc: exchange code: %w", err)
		}
		if r.ErrorCode == "invalid_grant" && r.Response.StatusCode == http.StatusBadRequest {
			return "", "", federation.Refuse("oidc: the provider does not know the code, or it was used before")
		}
		return "", "", fmt.Errorf("oidc: exchange code: the provider answers %d %s", r.Response.StatusCode, shown(r.ErrorCode))
	}
	idToken, _ = t.Extra("id_token").(string)
	if idToken == "" || len(idToken) > maxToken {
		return "", "", federation.Refuse("oidc: the provider gave no ID token, or one that is too long")
	}
	return t.AccessToken, idToken, nil
}

// shown is a short text of the provider's, quoted for the record.
func shown(s string) string {
	if !federation.Printable(s, 64) {
		return "with an error that cannot be shown"
	}
	return fmt.Sprintf("%q", s)
}
