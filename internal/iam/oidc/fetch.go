package oidc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"sallyport.dev/sallyport/internal/iam/jwks"
)

// guarded is the client without redirects and cookies, with an end to every request. A redirect
// would let whoever answers for the provider choose whom we ask next, with our secret.
func guarded(c *http.Client) *http.Client {
	own := *c
	own.Jar = nil
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if own.Timeout <= 0 || own.Timeout > timeout {
		own.Timeout = timeout
	}
	return &own
}

// get reads a JSON document of at most limit bytes. bearer may be empty.
func (p *Provider) get(ctx context.Context, what, where, bearer string, limit int64) ([]byte, error) {
	if err := checkURL(where, p.o.Loopback); err != nil {
		return nil, fmt.Errorf("oidc: fetch %s: %w", what, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, fmt.Errorf("oidc: fetch %s: %w", what, err)
	}
	req.Header.Set("Accept", "application/json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := p.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("oidc: fetch %s: %w", what, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("oidc: fetch %s: the provider answered %d", what, res.StatusCode)
	}
	if t, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); t == "application/jwt" {
		return nil, fmt.Errorf("oidc: fetch %s: the provider answers with a JWT; configure it to answer with JSON", what)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("oidc: fetch %s: %w", what, err)
	}
	if int64(len(raw)) > limit {
		return nil, fmt.Errorf("oidc: fetch %s: the answer is larger than %d bytes", what, limit)
	}
	return raw, nil
}

// keySource reads the provider's keys from where its discovery document says.
type keySource Provider

// JWKS implements jwks.Source.
func (k *keySource) JWKS(ctx context.Context) ([]byte, error) {
	p := (*Provider)(k)
	m, err := p.about.get(ctx)
	if err != nil {
		return nil, err
	}
	if m.keys == "" {
		return nil, errors.New("oidc: the discovery document names no keys")
	}
	return p.get(ctx, "keys", m.keys, "", jwks.MaxBytes)
}
