package jwks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/strictjson"
)

// HTTP reads a key set over HTTPS. It follows no redirects, and believes no answer but 200.
type HTTP struct {
	// Client sends; it brings the guard against addresses that must not be dialled, and the roots.
	// Required. Its CheckRedirect and Jar are not used.
	Client *http.Client
	// URL of the key set. When empty it is found by discovery (OpenID Connect Discovery 1.0).
	URL string
	// Issuer is the issuer's URL, for discovery: its document must name exactly this issuer.
	Issuer string
	// Bearer, when set, is asked for a token to send along, as a Kubernetes API server wants one.
	// It is sent to the host of URL or Issuer only.
	Bearer func() (secret.String, error)
}

// CheckURL says whether an issuer or key set may have this URL: https, a host, nothing else that
// could be read in two ways.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Opaque != "" || strings.Contains(raw, "#") {
		return errors.New("jwks: expected an https URL with a host and without user or fragment")
	}
	return nil
}

// JWKS fetches the document.
func (h *HTTP) JWKS(ctx context.Context) ([]byte, error) {
	where := h.URL
	if where == "" {
		raw, err := h.get(ctx, strings.TrimSuffix(h.Issuer, "/")+"/.well-known/openid-configuration")
		if err != nil {
			return nil, err
		}
		if where, err = discover(raw, h.Issuer); err != nil {
			return nil, err
		}
	}
	return h.get(ctx, where)
}

func discover(raw []byte, issuer string) (string, error) {
	d, err := strictjson.Parse(raw, strictjson.Limits{Depth: 16, Nodes: 20_000})
	if err != nil {
		return "", fmt.Errorf("jwks: read discovery document: %w", err)
	}
	// Or one issuer could answer for another (OpenID Connect Discovery 1.0 section 4.3).
	if d.Str(d.Get(strictjson.Root, "issuer")) != issuer {
		return "", errors.New("jwks: the discovery document names another issuer")
	}
	return d.Str(d.Get(strictjson.Root, "jwks_uri")), nil
}

func (h *HTTP) get(ctx context.Context, where string) ([]byte, error) {
	if err := CheckURL(where); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, fmt.Errorf("jwks: %w", err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	if h.Bearer != nil && sameHost(where, h.URL, h.Issuer) {
		t, err := h.Bearer()
		if err != nil {
			return nil, fmt.Errorf("jwks: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+t.Reveal())
	}
	c := *h.Client
	c.Jar = nil
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := c.Do(req)
	if err != nil {
		return nil, fmt.Errorf("jwks: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("jwks: the issuer answered %d", res.StatusCode)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("jwks: %w", err)
	}
	if len(raw) > MaxBytes {
		return nil, fmt.Errorf("jwks: the issuer's answer is larger than %d bytes", MaxBytes)
	}
	return raw, nil
}

// sameHost compares with the URL that was configured, since a discovery document may name any.
func sameHost(where, configured, issuer string) bool {
	if configured == "" {
		configured = issuer
	}
	a, err := url.Parse(where)
	b, err2 := url.Parse(configured)
	return err == nil && err2 == nil && a.Host == b.Host
}

// File reads a key set from a file each time, for an issuer that cannot be reached.
type File string

// JWKS reads the file.
func (f File) JWKS(context.Context) ([]byte, error) {
	r, err := os.Open(string(f))
	if err != nil {
		return nil, fmt.Errorf("jwks: %w", err)
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("jwks: %w", err)
	}
	return raw, nil
}
