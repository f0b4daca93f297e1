package oidc

import (
	"context"

	"sallyport.dev/sallyport/internal/iam/federation"
	"sallyport.dev/sallyport/internal/strictjson"
)

const maxUserInfo = 256 << 10

// known are claims that have their place, or that say nothing of the person.
var known = map[string]bool{
	"iss": true, "sub": true, "aud": true, "exp": true, "iat": true, "nbf": true, "jti": true, "nonce": true, "azp": true,
	"at_hash": true, "c_hash": true, "s_hash": true, "auth_time": true, "acr": true, "amr": true, "sid": true,
	"name": true, "email": true, "email_verified": true, "client_id": true, "_claim_names": true, "_claim_sources": true,
}

// assertion reads the verified claims, and what they lack from the userinfo endpoint.
func (p *Provider) assertion(ctx context.Context, m *metadata, d *strictjson.Doc, access string) (*federation.Assertion, error) {
	a := &federation.Assertion{
		Provider: p.o.Name, Issuer: p.o.Issuer, Subject: str(d, strictjson.Root, "sub"),
		ACR: str(d, strictjson.Root, "acr"), AMR: list(d, d.Get(strictjson.Root, "amr")), Session: str(d, strictjson.Root, "sid"),
	}
	if d.Get(strictjson.Root, "auth_time") >= 0 {
		t, ok := numericDate(d, "auth_time")
		if !ok {
			return nil, federation.Refuse("oidc: auth_time is no time")
		}
		a.AuthTime = t
	}
	found, err := p.describe(a, d)
	if err != nil {
		return nil, err
	}
	if p.o.UserInfo {
		u, err := p.userinfo(ctx, m, access, a.Subject)
		if err != nil {
			return nil, err
		}
		more := *a
		if found { // what is signed counts
			if _, err := p.describe(&more, u); err != nil {
				return nil, err
			}
			more.Groups = a.Groups
		} else if found, err = p.describe(&more, u); err != nil {
			return nil, err
		}
		a = &more
	}
	if !found && left(d, p.o.Groups[0]) {
		return nil, federation.Refuse("oidc: the provider left the groups out since they are too many; let it send only those that matter here")
	}
	return a, a.Bound()
}

// left says whether the provider left a claim out and points elsewhere for it (OpenID Connect Core
// 1.0 section 5.6.2; Entra ID beyond 200 groups). A group that denies may be among them.
func left(d *strictjson.Doc, name string) bool {
	return d.Get(d.Get(strictjson.Root, "_claim_names"), name) >= 0 || d.Kind(d.Get(strictjson.Root, "hasgroups")) == strictjson.True
}

// describe adds what claims say of the person and is not known yet, and says whether the groups'
// claim was there.
func (p *Provider) describe(a *federation.Assertion, d *strictjson.Doc) (found bool, err error) {
	if a.Name == "" {
		a.Name = str(d, strictjson.Root, "name")
	}
	if a.Email == "" {
		a.Email = str(d, strictjson.Root, "email")
		a.EmailVerified = d.Kind(d.Get(strictjson.Root, "email_verified")) == strictjson.True
	}
	at := strictjson.Root
	for _, name := range p.o.Groups {
		at = d.Get(at, name)
	}
	switch d.Kind(at) {
	case strictjson.String:
		a.Groups, found = []string{d.Str(at)}, at >= 0
	case strictjson.Array:
		found, a.Groups = true, list(d, at)
		if len(a.Groups) != int(d.Nodes[at].Len) {
			return true, federation.Refuse("oidc: the groups hold something that is no text")
		}
	default:
		if at >= 0 && d.Kind(at) != strictjson.Null {
			return true, federation.Refuse("oidc: the groups are neither a text nor a list of texts")
		}
	}
	for i := range d.Children(strictjson.Root) {
		name := string(d.Key(i))
		if known[name] || name == p.o.Groups[0] {
			continue
		}
		switch d.Kind(i) {
		case strictjson.String:
			a.Add(name, d.Str(i))
		case strictjson.True, strictjson.False:
			a.Add(name, string(d.Value(i)))
		case strictjson.Array:
			if v := list(d, i); len(v) == int(d.Nodes[i].Len) {
				a.Add(name, v...)
			}
		}
	}
	return found, nil
}

// userinfo asks what else the provider knows (OpenID Connect Core 1.0 section 5.3). It must be about
// the same person.
func (p *Provider) userinfo(ctx context.Context, m *metadata, access, subject string) (*strictjson.Doc, error) {
	raw, err := p.get(ctx, "userinfo", m.userinfo, access, maxUserInfo)
	if err != nil {
		return nil, err
	}
	d, err := strictjson.Parse(raw, strictjson.Limits{Depth: 16, Nodes: 20_000, Key: 256, Num: 32})
	if err != nil || d.Kind(strictjson.Root) != strictjson.Object {
		return nil, federation.Refuse("oidc: userinfo cannot be read in one way")
	}
	if !federation.Same(str(d, strictjson.Root, "sub"), subject) {
		return nil, federation.Refuse("oidc: userinfo is about somebody else")
	}
	return d, nil
}
