package federation

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// Patience is how long a person may take at the identity provider.
const Patience = 10 * time.Minute

// maxReturn bounds Ask.Return, so that the cookie stays within what browsers keep (RFC 6265
// section 6.1: 4,096 bytes).
const maxReturn = 512

// Ask is what is wanted of one sign-in.
type Ask struct {
	// StepUp wants the person to authenticate again, now: an authentication from before the
	// question does not count.
	StepUp bool
	// MaxAge, above zero, is how old the authentication may be.
	MaxAge time.Duration
	// ACR, when set, are the contexts of which one must have been met.
	ACR []string
	// Issuer and Subject, when set, are who must come back: somebody else's step-up does not
	// raise a session.
	Issuer, Subject string
	// Return is the caller's own, up to 512 bytes, handed back by Finish. It is sealed: nobody but
	// the caller chose it.
	Return string
	// Hint, when set, is sent along as whom the person says they are.
	Hint string
}

// Pending is a sign-in under way. Nothing of it is kept on the server, so that outsiders who begin
// sign-ins without number fill nothing: it is sealed into a cookie of the browser that began it.
type Pending struct {
	// URL is where to send the browser.
	URL string
	// Cookie is the value for a cookie that only this browser has: HttpOnly, Secure, __Host-, with
	// the life of Expires, deleted when the browser comes back.
	Cookie string
	// CrossSite says that the browser comes back with a POST from the provider's site, where
	// cookies with SameSite=Lax are not sent: the cookie then needs SameSite=None.
	CrossSite bool
	Expires   time.Time
}

// Signed is a sign-in that went well.
type Signed struct {
	Assertion
	Return string
	StepUp bool // a fresh authentication was asked for, and shown
}

// Login is what the sealed cookie holds.
type Login struct {
	ID       string    `json:"id"` // makes it single use
	State    string    `json:"state,omitempty"`
	Nonce    string    `json:"nonce,omitempty"`
	Verifier string    `json:"verifier,omitempty"` // PKCE
	Request  string    `json:"request,omitempty"`  // SAML AuthnRequest
	Started  time.Time `json:"started"`
	Expires  time.Time `json:"expires"`
	StepUp   bool      `json:"step_up,omitempty"`
	MaxAge   int64     `json:"max_age,omitempty"` // seconds
	ACR      []string  `json:"acr,omitempty"`
	Issuer   string    `json:"issuer,omitempty"`
	Subject  string    `json:"subject,omitempty"`
	Return   string    `json:"return,omitempty"`
}

// NewLogin begins a sign-in.
func NewLogin(a Ask, now time.Time) (*Login, error) {
	if len(a.Return) > maxReturn || len(a.ACR) > 8 || len(a.Issuer) > MaxIssuer || len(a.Subject) > MaxSubject || len(a.Hint) > maxEmail {
		return nil, errors.New("federation: begin sign-in: what is asked for is too long")
	}
	for _, c := range a.ACR {
		if !Printable(c, maxContext) {
			return nil, errors.New("federation: begin sign-in: an authentication context is empty, too long or not printable")
		}
	}
	if a.MaxAge < 0 || a.MaxAge > 0 && a.MaxAge < time.Second {
		return nil, errors.New("federation: begin sign-in: expected a maximum age of at least 1s; ask for a step-up instead")
	}
	return &Login{
		ID: Random(), Started: now, Expires: now.Add(Patience), StepUp: a.StepUp, MaxAge: int64(a.MaxAge / time.Second),
		ACR: a.ACR, Issuer: a.Issuer, Subject: a.Subject, Return: a.Return,
	}, nil
}

// Random is 256 random bits as 43 characters of base64url.
func Random() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// Use spends the sign-in: exactly one of two attempts to finish it goes on.
func (l *Login) Use(ctx context.Context, once Once) error {
	// With the margin, two clocks that differ cannot let it in again.
	first, err := once.First(ctx, "login\n"+l.ID, l.Expires.Add(Patience))
	switch {
	case err != nil:
		return fmt.Errorf("federation: spend sign-in: %w", err)
	case !first:
		return Refuse("the sign-in was finished before")
	}
	return nil
}

// Check holds a verified assertion against what was asked for. skew is what two clocks may differ by.
func (l *Login) Check(a *Assertion, now time.Time, skew time.Duration) error {
	if (l.StepUp || l.MaxAge > 0) && a.AuthTime.IsZero() {
		return Refuse("the provider does not say when the person authenticated")
	}
	if a.AuthTime.After(now.Add(skew)) {
		return Refuse("the authentication lies in the future")
	}
	// The times of providers are whole seconds, rounded down.
	if l.StepUp && a.AuthTime.Before(l.Started.Truncate(time.Second).Add(-skew)) {
		return Refuse("the person was not authenticated again")
	}
	if l.MaxAge > 0 && now.Sub(a.AuthTime) > time.Duration(l.MaxAge)*time.Second+skew {
		return Refuse("the authentication is older than was asked for")
	}
	if len(l.ACR) > 0 {
		met := false
		for _, c := range l.ACR {
			met = met || c == a.ACR
		}
		if !met {
			return Refuse("the authentication context asked for was not met")
		}
	}
	if l.Issuer != "" && l.Issuer != a.Issuer || l.Subject != "" && l.Subject != a.Subject {
		return Refuse("somebody else signed in than was asked for")
	}
	return nil
}

// maxCookie bounds what is opened.
const maxCookie = 4096

// Sealer seals sign-ins under way with AES-256-GCM. Nodes that share its keys can finish each
// other's. It is safe for concurrent use.
type Sealer struct{ keys []cipher.AEAD }

// NewSealer takes keys of 32 bytes. The first seals, all of them open: during a rotation the old one
// stays for Patience.
func NewSealer(keys ...[]byte) (*Sealer, error) {
	if len(keys) == 0 {
		return nil, errors.New("federation: make sealer: no key is given")
	}
	s := &Sealer{}
	for _, k := range keys {
		if len(k) != 32 {
			return nil, errors.New("federation: make sealer: expected keys of 32 bytes")
		}
		b, err := aes.NewCipher(k)
		if err != nil {
			return nil, fmt.Errorf("federation: make sealer: %w", err)
		}
		g, err := cipher.NewGCMWithRandomNonce(b)
		if err != nil {
			return nil, fmt.Errorf("federation: make sealer: %w", err)
		}
		s.keys = append(s.keys, g)
	}
	return s, nil
}

// Seal makes the cookie of a sign-in. It opens for this protocol and provider only.
func (s *Sealer) Seal(protocol, provider string, l *Login) (string, error) {
	plain, err := json.Marshal(l)
	if err != nil {
		return "", fmt.Errorf("federation: seal sign-in: %w", err)
	}
	out := base64.RawURLEncoding.EncodeToString(s.keys[0].Seal(nil, nil, plain, bind(protocol, provider)))
	if len(out) > maxCookie-256 { // room for the cookie's name and attributes
		return "", errors.New("federation: seal sign-in: what is asked for is too long for a cookie")
	}
	return out, nil
}

// Open reads the cookie of a sign-in that has not ended.
func (s *Sealer) Open(protocol, provider, cookie string, now time.Time) (*Login, error) {
	if cookie == "" {
		return nil, Refuse("this browser began no sign-in")
	}
	if len(cookie) > maxCookie {
		return nil, Refuse("the sign-in's cookie is too long")
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cookie)
	if err != nil || strings.ContainsAny(cookie, "\r\n") { // which the decoder passes over
		return nil, Refuse("the sign-in's cookie is not ours")
	}
	for _, k := range s.keys {
		plain, err := k.Open(nil, nil, raw, bind(protocol, provider))
		if err != nil {
			continue
		}
		var l Login
		if err := json.Unmarshal(plain, &l, json.RejectUnknownMembers(true)); err != nil {
			return nil, Refuse("the sign-in's cookie cannot be read")
		}
		if !now.Before(l.Expires) {
			return nil, Refuse("the sign-in took too long")
		}
		return &l, nil
	}
	return nil, Refuse("the sign-in's cookie is not ours, or for another provider")
}

func bind(protocol, provider string) []byte {
	return []byte("sallyport sign-in 1\x00" + protocol + "\x00" + provider)
}

// Same compares two values in constant time. Nothing is the same as an empty one.
func Same(a, b string) bool {
	return a != "" && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}
