package oidc

import (
	"context"
	"fmt"
	"time"

	"sallyport.dev/sallyport/internal/iam/federation"
	"sallyport.dev/sallyport/internal/strictjson"
)

// longestLogout bounds the life of a logout token, and so what is remembered of it; the
// specification recommends two minutes.
const longestLogout = time.Hour

// Logout is whose sessions must end: those of Session when it is set, all of Subject otherwise.
type Logout struct{ Issuer, Subject, Session string }

// Logout judges a logout token that the provider posted to us (OpenID Connect Back-Channel Logout
// 1.0 section 2.6). It is refused the second time.
func (p *Provider) Logout(ctx context.Context, token string) (*Logout, error) {
	d, _, err := p.verify(ctx, token, "logout+jwt")
	if err != nil {
		return nil, err
	}
	if err := p.checkParties(d); err != nil {
		return nil, err
	}
	expires, issued, err := p.checkTimes(d)
	if err != nil {
		return nil, err
	}
	if expires.Sub(issued) > longestLogout {
		return nil, federation.Refuse("oidc: the logout token lives too long")
	}
	event := d.Get(d.Get(strictjson.Root, "events"), "http://schemas.openid.net/event/backchannel-logout")
	if d.Kind(event) != strictjson.Object {
		return nil, federation.Refuse("oidc: the token is no logout token")
	}
	if d.Get(strictjson.Root, "nonce") >= 0 {
		return nil, federation.Refuse("oidc: an ID token was sent as a logout token")
	}
	l := &Logout{Issuer: p.o.Issuer, Subject: str(d, strictjson.Root, "sub"), Session: str(d, strictjson.Root, "sid")}
	jti := str(d, strictjson.Root, "jti")
	if !federation.Printable(jti, 256) || l.Subject == "" && l.Session == "" || len(l.Subject) > federation.MaxSubject || len(l.Session) > 256 {
		return nil, federation.Refuse("oidc: the logout token has no id, or says not whose sessions end")
	}
	first, err := p.o.Once.First(ctx, "logout\n"+p.o.Issuer+"\n"+jti, expires.Add(p.o.Skew))
	if err != nil {
		return nil, fmt.Errorf("oidc: spend logout token: %w", err)
	}
	if !first {
		return nil, federation.Refuse("oidc: the logout token was used before")
	}
	return l, nil
}
