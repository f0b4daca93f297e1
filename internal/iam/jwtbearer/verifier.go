// Package jwtbearer verifies JWT bearer tokens (RFC 7519, RFC 6750, RFC 8725) of configured OpenID
// Connect issuers, Kubernetes clusters among them, and says who they speak for.
//
// A token is verified once: who it speaks for is then known by the token's SHA-256 for at most five
// minutes, never beyond its own end, and while the issuer's keys stay as they are. Knowing a token
// again takes no lock and no network. A bearer token may be used any number of times until it ends;
// that is what it is. What bounds it is its audience, its short life and the list of revoked ones.
package jwtbearer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/strictjson"
)

const (
	// DefaultSkew is how much two clocks may differ.
	DefaultSkew = 60 * time.Second
	// Remember is the longest time that a verified token is known without verifying it again.
	Remember = 5 * time.Minute
	// keyWait is how long a token with an unknown key waits for the issuer's keys to be read.
	keyWait = time.Second
)

// Options makes a Verifier.
type Options struct {
	Issuers []Issuer
	// Skew is how much two clocks may differ, 0 to 5 min; zero: DefaultSkew.
	Skew time.Duration
	// CacheTokens is how many verified tokens are known at once, about; default 8192.
	CacheTokens int
	// Revocations are asked at every call; nil: nothing is revoked.
	Revocations *Revocations
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Verifier implements iam.TokenVerifier.
type Verifier struct {
	issuers map[string]*Issuer // by URL
	skew    time.Duration
	now     func() time.Time
	known   *cache
	revoked *Revocations
}

var _ iam.TokenVerifier = (*Verifier)(nil)

// New checks the options. Keeping the issuers' keys fresh is the caller's (jwks.Set.Run).
func New(o Options) (*Verifier, error) {
	if o.Skew == 0 {
		o.Skew = DefaultSkew
	}
	if o.Skew < 0 || o.Skew > 5*time.Minute {
		return nil, errors.New("jwtbearer: expected a clock skew of at most 5m")
	}
	if o.CacheTokens <= 0 {
		o.CacheTokens = 8192
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	v := &Verifier{issuers: make(map[string]*Issuer, len(o.Issuers)), skew: o.Skew, now: o.Now, known: newCache(o.CacheTokens), revoked: o.Revocations}
	if v.revoked == nil {
		v.revoked = &Revocations{}
	}
	names := map[string]bool{}
	for _, i := range o.Issuers {
		if err := i.check(); err != nil {
			return nil, fmt.Errorf("jwtbearer: issuer %q: %w", i.Name, err)
		}
		if names[i.Name] || v.issuers[i.URL] != nil {
			return nil, fmt.Errorf("jwtbearer: issuer %q: its name or URL is given twice", i.Name)
		}
		if len(i.Algs) == 0 {
			i.Algs = []string{"ES256", "RS256", "EdDSA"}
		}
		if i.MaxLifetime == 0 {
			i.MaxLifetime = DefaultLifetime
		}
		names[i.Name], v.issuers[i.URL] = true, &i
	}
	return v, nil
}

// Verify says whose token it is. See iam.TokenVerifier for the errors.
func (v *Verifier) Verify(ctx context.Context, token string) (*iam.Identity, error) {
	if len(token) > iam.MaxToken {
		return nil, errForm
	}
	now := v.now()
	// The hash only reads, so the text need not be copied.
	sum := sha256.Sum256(unsafe.Slice(unsafe.StringData(token), len(token)))
	if e := v.known.get(&sum, now); e != nil {
		keys, err := e.issuer.Keys.Keys(now)
		if err != nil {
			return nil, err
		}
		if keys.Generation == e.generation {
			if v.revoked.has(e.id) {
				return nil, errRevoked
			}
			return e.id, nil
		}
	}
	e, err := v.verify(ctx, token, now)
	if err != nil {
		return nil, err
	}
	if v.revoked.has(e.id) {
		return nil, errRevoked
	}
	e.sum = sum
	v.known.put(e)
	return e.id, nil
}

// verify does all of the work. What costs little comes first, so that nonsense costs little; none of
// it is believed before the signature is.
func (v *Verifier) verify(ctx context.Context, token string, now time.Time) (*entry, error) {
	rawHead, rawClaims, err := parts(token)
	if err != nil {
		return nil, err
	}
	h, err := parseHeader(rawHead)
	if err != nil {
		return nil, err
	}
	d, err := parseClaims(rawClaims)
	if err != nil {
		return nil, err
	}
	iss := v.issuers[d.Str(d.Get(strictjson.Root, "iss"))]
	if iss == nil {
		return nil, errIssuer
	}
	if !slices.Contains(iss.Algs, h.alg) {
		return nil, errAlg
	}
	if !audience(d, iss.Audiences) {
		return nil, errAudience
	}
	t, err := parseTimes(d)
	if err != nil {
		return nil, err
	}
	if err := t.check(now, v.skew, iss.MaxLifetime); err != nil {
		return nil, err
	}
	generation, err := v.signed(ctx, iss, h, token, rawClaims, now)
	if err != nil {
		return nil, err
	}
	id, err := iss.identity(d)
	if err != nil {
		return nil, err
	}
	id.Issued, id.Expires = t.issued, t.expires
	until := now.Add(Remember)
	if end := t.expires.Add(v.skew); end.Before(until) {
		until = end
	}
	return &entry{until: until.UnixNano(), issuer: iss, generation: generation, id: id}, nil
}

// signed checks the signature against the issuer's own keys, and says which generation of them.
func (v *Verifier) signed(ctx context.Context, iss *Issuer, h header, token string, claims []byte, now time.Time) (uint64, error) {
	keys, err := iss.Keys.Keys(now)
	if err != nil {
		return 0, err
	}
	fit := keys.Find(h.kid, h.alg)
	if len(fit) == 0 && iss.Keys.Missing(ctx, keyWait) {
		if keys, err = iss.Keys.Keys(now); err != nil {
			return 0, err
		}
		fit = keys.Find(h.kid, h.alg)
	}
	if len(fit) == 0 {
		return 0, errKey
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(h.alg)})
	if err != nil {
		return 0, errSignature
	}
	for _, k := range fit {
		payload, err := jws.Verify(k.Public)
		if err == nil && string(payload) == string(claims) {
			return keys.Generation, nil
		}
	}
	return 0, errSignature
}
