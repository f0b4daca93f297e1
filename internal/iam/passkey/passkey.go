// Package passkey checks passkeys (Web Authentication Level 3): that a person holds a private key which
// their device lets them use for this console's address only, after it saw that it is them. What is
// phished elsewhere opens nothing here.
//
// It is strict where the standard leaves a choice: one origin, compared exactly; never from a frame of
// another site; the device must have verified its user (UV), so that a passkey alone is two factors; a
// count of signatures that does not grow is refused; what says that it can be backed up stays so. No
// attestation is asked for: it would tell makes of devices apart, which nothing here decides by.
package passkey

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"
)

// Bounds.
const (
	// Max is how many passkeys a person may have.
	Max = 10
	// Life is how long a challenge may be answered.
	Life = 5 * time.Minute

	maxAnswer     = 64 << 10 // bytes
	maxCredential = 1023     // bytes, Web Authentication Level 3 section 7.1
)

var (
	// ErrRefused: the answer proves nothing. What wraps it says why, for the record only.
	ErrRefused = errors.New("passkey: refused")
	// ErrCount: the count of signatures did not grow, so that there may be a copy of the key. It is
	// also ErrRefused.
	ErrCount = fmt.Errorf("%w: the count of signatures did not grow: there may be a copy of the key", ErrRefused)
)

// Key is a passkey of a person as it is kept. Nothing in it is secret. It is changed within one
// transaction of the store only.
type Key struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Credential []byte `json:"credential"` // id that the authenticator gave it
	Public     []byte `json:"public"`     // COSE_Key
	Count      uint32 `json:"count"`      // of signatures; 0 for authenticators that do not count
	// BackupEligible never changes; such a key may be on several devices. BackedUp says that it is.
	BackupEligible bool      `json:"backup_eligible"`
	BackedUp       bool      `json:"backed_up"`
	Transports     []string  `json:"transports,omitempty"`
	AAGUID         []byte    `json:"aaguid,omitempty"` // make of the authenticator, as it says itself
	Created        time.Time `json:"created"`
	Used           time.Time `json:"used,omitzero"`
}

// AMR are the methods that a signature with the key proves (RFC 8176): a key that stays in its
// hardware, or one that may be elsewhere too; and that the person was there.
func (k *Key) AMR() []string {
	if k.BackupEligible {
		return []string{"pop", "user"}
	}
	return []string{"hwk", "user"}
}

// Use is one signature that was checked.
type Use struct {
	Credential []byte
	Count      uint32
	BackedUp   bool
}

// Take notes a use. It must run in the transaction that writes k: of two answers with one count, also
// on two nodes, the second reads what the first wrote. ErrCount: refuse it.
func (k *Key) Take(u Use, at time.Time) error {
	if u.Count <= k.Count && (u.Count != 0 || k.Count != 0) {
		return ErrCount
	}
	k.Count, k.BackedUp, k.Used = u.Count, u.BackedUp, at
	return nil
}

// Index finds the key with a credential's id; -1: none.
func Index(keys []Key, credential []byte) int {
	for i := range keys {
		if bytes.Equal(keys[i].Credential, credential) {
			return i
		}
	}
	return -1
}

// Mark is a short text that only one credential has, for a key of the store.
func Mark(credential []byte) string {
	sum := sha256.Sum256(credential)
	return hex.EncodeToString(sum[:])
}

// Person is whose key it is. Its id is seen by authenticators, so it says nothing about them.
type Person struct{ ID, Name, Display string }

// Party is the console as authenticators know it. It is safe for concurrent use.
type Party struct{ w *webauthn.WebAuthn }

// New makes the party of an origin, such as https://gateway.example:8443. Browsers make passkeys for
// names, not for addresses, and over TLS only, but for localhost.
func New(origin, name string) (*Party, error) {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("passkey: expected an origin, such as https://gateway.example, and nothing after it")
	}
	host := strings.ToLower(u.Hostname())
	if net.ParseIP(host) != nil {
		return nil, errors.New("passkey: browsers make passkeys for a name, not for an address; use the console's name")
	}
	local := host == "localhost" || strings.HasSuffix(host, ".localhost")
	if u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return nil, errors.New("passkey: browsers make passkeys over https only")
	}
	port := u.Port()
	if port != "" && port != map[string]string{"http": "80", "https": "443"}[u.Scheme] {
		port = ":" + port
	} else {
		port = ""
	}
	w, err := webauthn.New(&webauthn.Config{
		RPID: host, RPDisplayName: name, RPOrigins: []string{u.Scheme + "://" + host + port},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementPreferred, UserVerification: protocol.VerificationRequired,
		},
		Timeouts: webauthn.TimeoutsConfig{
			Login: webauthn.TimeoutConfig{Timeout: Life, TimeoutUVD: Life}, Registration: webauthn.TimeoutConfig{Timeout: Life, TimeoutUVD: Life},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("passkey: %w", err)
	}
	return &Party{w}, nil
}

// algorithms are those of the standard's own recommendation: Ed25519, ECDSA with P-256, RSA.
var algorithms = []protocol.CredentialParameter{
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgEdDSA},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgES256},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgRS256},
}

// Register returns what a browser is asked (PublicKeyCredentialCreationOptions, as JSON) to make a key
// beside those that the person has, and the challenge, to be kept and answered once within Life.
func (p *Party) Register(who Person, have []Key) (options []byte, challenge string, err error) {
	o, s, err := p.w.BeginRegistration(user{who, have}, webauthn.WithExclusions(webauthn.Credentials(credentials(have)).CredentialDescriptors()),
		webauthn.WithCredentialParameters(algorithms))
	if err != nil {
		return nil, "", fmt.Errorf("passkey: begin registration: %w", err)
	}
	return encode(o.Response, s.Challenge)
}

// Registered checks a browser's answer (RegistrationResponseJSON) to a challenge, and returns the key.
func (p *Party) Registered(who Person, challenge string, answer []byte, name string, at time.Time) (Key, error) {
	if len(answer) > maxAnswer {
		return Key{}, fmt.Errorf("%w: the answer is too long", ErrRefused)
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return Key{}, refused(err)
	}
	c, err := p.w.CreateCredential(user{Person: who}, webauthn.SessionData{
		Challenge: challenge, UserID: []byte(who.ID), UserVerification: protocol.VerificationRequired, CredParams: algorithms,
	}, parsed)
	if err != nil {
		return Key{}, refused(err)
	}
	if len(c.ID) == 0 || len(c.ID) > maxCredential {
		return Key{}, fmt.Errorf("%w: the credential's id has %d bytes", ErrRefused, len(c.ID))
	}
	k := Key{
		Name: name, Credential: c.ID, Public: c.PublicKey, Count: c.Authenticator.SignCount, BackupEligible: c.Flags.BackupEligible,
		BackedUp: c.Flags.BackupState, AAGUID: c.Authenticator.AAGUID, Created: at,
	}
	for _, t := range c.Transport {
		switch t { // what is not known is left out: it is text of a browser
		case protocol.USB, protocol.NFC, protocol.BLE, protocol.SmartCard, protocol.Hybrid, protocol.Internal:
			k.Transports = append(k.Transports, string(t))
		}
	}
	return k, nil
}

// Ask returns what a browser is asked (PublicKeyCredentialRequestOptions, as JSON) for a signature with
// one of a person's keys, or, with none given, with any that it knows for this console.
func (p *Party) Ask(who Person, keys []Key) (options []byte, challenge string, err error) {
	var o *protocol.CredentialAssertion
	var s *webauthn.SessionData
	if len(keys) == 0 {
		o, s, err = p.w.BeginDiscoverableLogin()
	} else {
		o, s, err = p.w.BeginLogin(user{who, keys})
	}
	if err != nil {
		return nil, "", fmt.Errorf("passkey: begin: %w", err)
	}
	return encode(o.Response, s.Challenge)
}

// Answered says whose key an answer (AuthenticationResponseJSON) claims to be of: nothing of it is
// checked yet.
func Answered(answer []byte) (credential []byte, err error) {
	parsed, err := parse(answer)
	if err != nil {
		return nil, err
	}
	return parsed.RawID, nil
}

// Check checks an answer to a challenge against the keys of a person. With named, the authenticator
// itself must name the person, as it does when it was not told which keys to use. The use counts once
// Take has taken it.
func (p *Party) Check(who Person, keys []Key, challenge string, answer []byte, named bool) (Use, error) {
	parsed, err := parse(answer)
	if err != nil {
		return Use{}, err
	}
	if named && len(parsed.Response.UserHandle) == 0 {
		return Use{}, fmt.Errorf("%w: the authenticator names nobody", ErrRefused)
	}
	if _, err := p.w.ValidateLogin(user{who, keys}, webauthn.SessionData{
		Challenge: challenge, UserID: []byte(who.ID), UserVerification: protocol.VerificationRequired,
	}, parsed); err != nil {
		return Use{}, refused(err)
	}
	d := parsed.Response.AuthenticatorData
	return Use{Credential: parsed.RawID, Count: d.Counter, BackedUp: d.Flags.HasBackupState()}, nil
}

func parse(answer []byte) (*protocol.ParsedCredentialAssertionData, error) {
	if len(answer) > maxAnswer {
		return nil, fmt.Errorf("%w: the answer is too long", ErrRefused)
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return nil, refused(err)
	}
	return parsed, nil
}

// refused keeps the library's own words, which hold nothing of the answer.
func refused(err error) error {
	var e *protocol.Error
	if errors.As(err, &e) {
		return fmt.Errorf("%w: %s", ErrRefused, e.Details)
	}
	return fmt.Errorf("%w: %T", ErrRefused, err)
}

func encode(o any, challenge string) ([]byte, string, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return nil, "", fmt.Errorf("passkey: write options: %w", err)
	}
	return b, challenge, nil
}

// user is a person as the library takes one.
type user struct {
	Person
	keys []Key
}

func (u user) WebAuthnID() []byte                         { return []byte(u.ID) }
func (u user) WebAuthnName() string                       { return u.Name }
func (u user) WebAuthnDisplayName() string                { return u.Display }
func (u user) WebAuthnCredentials() []webauthn.Credential { return credentials(u.keys) }

func credentials(keys []Key) (out []webauthn.Credential) {
	for _, k := range keys {
		c := webauthn.Credential{ID: k.Credential, PublicKey: k.Public, Authenticator: webauthn.Authenticator{AAGUID: k.AAGUID, SignCount: k.Count}}
		c.Flags.UserPresent, c.Flags.UserVerified, c.Flags.BackupEligible, c.Flags.BackupState = true, true, k.BackupEligible, k.BackedUp
		for _, t := range k.Transports {
			c.Transport = append(c.Transport, protocol.AuthenticatorTransport(t))
		}
		out = append(out, c)
	}
	return out
}
