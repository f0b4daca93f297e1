package oidc

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/sallyport/internal/iam/federation"
	"sallyport.dev/sallyport/internal/strictjson"
)

// otherReading are header members by which a token would have to be understood in another way than
// a plain signed one. Those that say where its key is (jku, jwk, x5u, x5c) are never looked at: the
// key is one of the provider's, or none.
var otherReading = []string{"crit", "b64", "enc", "zip", "cty", "epk"}

// verify checks that a token is the provider's, and of the type wanted, and returns its claims. They
// are read in one way only: no name stands twice. The header decides nothing but which of the
// provider's own keys to try, with an algorithm that is configured and fits that key.
func (p *Provider) verify(ctx context.Context, token, typ string) (*strictjson.Doc, string, error) {
	head, rest, _ := strings.Cut(token, ".")
	if len(token) > maxToken || strings.Count(rest, ".") != 1 {
		return nil, "", federation.Refuse("oidc: the token is not three parts, or too long")
	}
	kid, alg, err := readHeader(head, typ)
	if err != nil {
		return nil, "", err
	}
	if !slices.Contains(p.o.Algs, alg) {
		return nil, "", federation.Refuse("oidc: the token's algorithm is not accepted")
	}
	payload, err := p.signed(ctx, token, kid, alg)
	if err != nil {
		return nil, "", err
	}
	d, err := strictjson.Parse(payload, strictjson.Limits{Depth: 16, Nodes: 8192, Key: 256, Num: 32})
	if err != nil || d.Kind(strictjson.Root) != strictjson.Object {
		return nil, "", federation.Refuse("oidc: the token's claims cannot be read in one way")
	}
	return d, alg, nil
}

func readHeader(part, typ string) (kid, alg string, err error) {
	bad := federation.Refuse("oidc: the token's header cannot be read in one way")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil || len(raw) > 16<<10 || strings.ContainsAny(part, "\r\n") {
		return "", "", bad
	}
	d, err := strictjson.Parse(raw, strictjson.Limits{Depth: 4, Nodes: 128, Key: 64, Num: 32})
	if err != nil || d.Kind(strictjson.Root) != strictjson.Object {
		return "", "", bad
	}
	for i := range d.Children(strictjson.Root) {
		name := string(d.Key(i))
		low := strings.ToLower(name)
		if slices.Contains(otherReading, low) {
			return "", "", federation.Refuse("oidc: the token wants to be read in another way: " + low)
		}
		switch low {
		case "alg", "kid", "typ":
			if name != low || d.Kind(i) != strictjson.String {
				return "", "", bad
			}
		}
	}
	// RFC 8725 section 3.11: an access token or a logout token is no ID token.
	if t := str(d, strictjson.Root, "typ"); t != "" && !strings.EqualFold(t, "JWT") && !strings.EqualFold(strings.TrimPrefix(strings.ToLower(t), "application/"), typ) {
		return "", "", federation.Refuse("oidc: the token is of another type")
	}
	kid, alg = str(d, strictjson.Root, "kid"), str(d, strictjson.Root, "alg")
	if kid == "" || alg == "" {
		return "", "", federation.Refuse("oidc: the token names no key or no algorithm")
	}
	return kid, alg, nil
}

// signed checks the signature against the provider's keys. An unknown key has them read again, but
// seldom.
func (p *Provider) signed(ctx context.Context, token, kid, alg string) ([]byte, error) {
	keys, err := p.keys.Keys(p.o.Now())
	if err != nil || len(keys.Find(kid, alg)) == 0 {
		p.keys.Missing(ctx, timeout)
		if keys, err = p.keys.Keys(p.o.Now()); err != nil {
			if why := p.fault.Load(); why != nil && *why != nil {
				err = *why
			}
			return nil, fmt.Errorf("oidc: read the provider's keys: %w", err)
		}
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	if err != nil {
		return nil, federation.Refuse("oidc: the token is malformed")
	}
	fit := keys.Find(kid, alg)
	if len(fit) == 0 {
		return nil, federation.Refuse("oidc: the token is signed with a key that the provider does not publish")
	}
	for _, k := range fit {
		if payload, err := jws.Verify(k.Public); err == nil {
			return payload, nil
		}
	}
	return nil, federation.Refuse("oidc: the token's signature is wrong")
}
