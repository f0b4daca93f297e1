package oidc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"sallyport.dev/sallyport/internal/strictjson"
)

const (
	maxDiscovery  = 256 << 10
	metadataFresh = time.Hour
	// metadataRest is how long nobody asks again after a failure, so that whoever begins sign-ins
	// without number sends few requests.
	metadataRest = 2 * time.Second
)

// metadata is what a provider says of itself (OpenID Connect Discovery 1.0 section 3).
type metadata struct {
	authorize, token, keys, userinfo, endSession string
	// iss: it names itself in every authorization response (RFC 9207 section 3).
	iss   bool
	style oauth2.AuthStyle
	read  time.Time
}

// discovery keeps the metadata. One caller at a time reads it anew; the others wait.
type discovery struct {
	p    *Provider
	now  atomic.Pointer[metadata]
	turn chan struct{} // guards failed and when, and the reading
	err  error
	when time.Time
}

func (d *discovery) fresh(now time.Time) *metadata {
	if m := d.now.Load(); m != nil && now.Sub(m.read) < metadataFresh {
		return m
	}
	return nil
}

func (d *discovery) get(ctx context.Context) (*metadata, error) {
	if m := d.fresh(d.p.o.Now()); m != nil {
		return m, nil
	}
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("oidc: fetch discovery document: %w", ctx.Err())
	}
	now := d.p.o.Now()
	if m := d.fresh(now); m != nil {
		return m, nil
	}
	if d.err != nil && now.Sub(d.when) < metadataRest {
		return nil, d.err
	}
	m, err := d.p.discover(ctx)
	if err != nil {
		if ctx.Err() == nil { // a caller who left says nothing of the provider
			d.err, d.when = err, now
		}
		return nil, err
	}
	m.read, d.err = now, nil
	d.now.Store(m)
	return m, nil
}

func (p *Provider) discover(ctx context.Context) (*metadata, error) {
	raw, err := p.get(ctx, "discovery document", strings.TrimSuffix(p.o.Issuer, "/")+"/.well-known/openid-configuration", "", maxDiscovery)
	if err != nil {
		return nil, err
	}
	d, err := strictjson.Parse(raw, strictjson.Limits{Depth: 16, Nodes: 20_000})
	if err != nil || d.Kind(strictjson.Root) != strictjson.Object {
		return nil, errors.New("oidc: the discovery document is not JSON in one reading")
	}
	// Or one provider could answer for another (OpenID Connect Discovery 1.0 section 4.3).
	if iss := str(d, strictjson.Root, "issuer"); iss != p.o.Issuer {
		return nil, fmt.Errorf("oidc: the discovery document names the issuer %.200q; expected %q, byte for byte", iss, p.o.Issuer)
	}
	m := &metadata{
		authorize:  str(d, strictjson.Root, "authorization_endpoint"),
		token:      str(d, strictjson.Root, "token_endpoint"),
		keys:       str(d, strictjson.Root, "jwks_uri"),
		userinfo:   str(d, strictjson.Root, "userinfo_endpoint"),
		endSession: str(d, strictjson.Root, "end_session_endpoint"),
		iss:        d.Kind(d.Get(strictjson.Root, "authorization_response_iss_parameter_supported")) == strictjson.True,
	}
	for _, e := range []struct {
		name, url string
		must      bool
	}{
		{"authorization_endpoint", m.authorize, true}, {"token_endpoint", m.token, true}, {"jwks_uri", m.keys, true},
		{"userinfo_endpoint", m.userinfo, p.o.UserInfo}, {"end_session_endpoint", m.endSession, false},
	} {
		if e.url == "" && !e.must {
			continue
		}
		if err := checkURL(e.url, p.o.Loopback); err != nil {
			return nil, fmt.Errorf("oidc: the discovery document's %s: %w", e.name, err)
		}
	}
	methods := list(d, d.Get(strictjson.Root, "token_endpoint_auth_methods_supported"))
	switch {
	case p.o.ClientSecret.Empty():
		m.style = oauth2.AuthStyleInParams
	case len(methods) == 0 || slices.Contains(methods, "client_secret_basic"): // the default
		m.style = oauth2.AuthStyleInHeader
	case slices.Contains(methods, "client_secret_post"):
		m.style = oauth2.AuthStyleInParams
	default:
		return nil, errors.New("oidc: the provider accepts client_secret_basic and client_secret_post from nobody")
	}
	return m, nil
}

// str is a member that is a text; "" otherwise.
func str(d *strictjson.Doc, at int, name string) string {
	i := d.Get(at, name)
	if d.Kind(i) != strictjson.String {
		return ""
	}
	return d.Str(i)
}

// list is an array's texts; what is no text is left out.
func list(d *strictjson.Doc, at int) []string {
	if d.Kind(at) != strictjson.Array {
		return nil
	}
	var out []string
	for i := range d.Children(at) {
		if d.Kind(i) == strictjson.String {
			out = append(out, d.Str(i))
		}
	}
	return out
}
