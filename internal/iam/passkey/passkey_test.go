package passkey_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	vwa "github.com/descope/virtualwebauthn"

	"sallyport.dev/sallyport/internal/iam/passkey"
	"sallyport.dev/sallyport/internal/iam/passkey/passkeytest"
)

var (
	alice = passkey.Person{ID: "user_a", Name: "alice", Display: "Alice"}
	bob   = passkey.Person{ID: "user_b", Name: "bob", Display: "Bob"}
	site  = vwa.RelyingParty{ID: "gateway.example", Name: "Sallyport", Origin: "https://gateway.example:8443"}
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func party(t *testing.T) *passkey.Party {
	t.Helper()
	p, err := passkey.New(site.Origin, site.Name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// device is somebody's authenticator with one key.
type device struct {
	vwa.Authenticator
	cred vwa.Credential
}

func newDevice(who passkey.Person, o vwa.AuthenticatorOptions) *device {
	o.UserHandle = []byte(who.ID)
	return &device{vwa.NewAuthenticatorWithOptions(o), passkeytest.Credential()}
}

func (d *device) make(t *testing.T, options []byte, at vwa.RelyingParty) []byte {
	t.Helper()
	o, err := vwa.ParseAttestationOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(vwa.CreateAttestationResponse(at, d.Authenticator, d.cred, *o))
}

func (d *device) sign(t *testing.T, options []byte, at vwa.RelyingParty) []byte {
	t.Helper()
	o, err := vwa.ParseAssertionOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	d.cred.Counter++
	return []byte(vwa.CreateAssertionResponse(at, d.Authenticator, d.cred, *o))
}

func enrol(t *testing.T, p *passkey.Party, who passkey.Person, d *device) passkey.Key {
	t.Helper()
	options, challenge, err := p.Register(who, nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := p.Registered(who, challenge, d.make(t, options, site), "laptop", noon)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func refused(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, passkey.ErrRefused) {
		t.Errorf("%s: %v", what, err)
	}
}

func TestAPasskeyOpens(t *testing.T) {
	p := party(t)
	for name, o := range map[string]vwa.AuthenticatorOptions{"in hardware": {}, "in a cloud": {BackupEligible: true, BackupState: true}} {
		d := newDevice(alice, o)
		k := enrol(t, p, alice, d)
		if k.BackupEligible != o.BackupEligible || k.BackedUp != o.BackupState || len(k.Public) == 0 || string(k.Credential) != string(d.cred.ID) {
			t.Errorf("%s: %+v", name, k)
		}
		for _, keys := range [][]passkey.Key{{k}, nil} { // told which keys, and not
			options, challenge, err := p.Ask(alice, keys)
			if err != nil {
				t.Fatal(err)
			}
			answer := d.sign(t, options, site)
			if id, err := passkey.Answered(answer); err != nil || passkey.Index([]passkey.Key{k}, id) != 0 {
				t.Errorf("%s: %v", name, err)
			}
			use, err := p.Check(alice, []passkey.Key{k}, challenge, answer, keys == nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := k.Take(use, noon); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := k.Take(use, noon); !errors.Is(err, passkey.ErrCount) {
				t.Errorf("%s: the same use twice: %v", name, err)
			}
		}
		if amr := strings.Join(k.AMR(), " "); amr != map[bool]string{true: "pop user", false: "hwk user"}[o.BackupEligible] {
			t.Errorf("%s: %s", name, amr)
		}
	}
}

// What browsers are asked for is as strict as what is checked.
func TestWhatIsAsked(t *testing.T) {
	p := party(t)
	k := enrol(t, p, alice, newDevice(alice, vwa.AuthenticatorOptions{}))
	for _, ask := range []func() ([]byte, string, error){
		func() ([]byte, string, error) { return p.Register(alice, []passkey.Key{k}) },
		func() ([]byte, string, error) { return p.Ask(alice, []passkey.Key{k}) },
		func() ([]byte, string, error) { return p.Ask(passkey.Person{}, nil) },
	} {
		b, challenge, err := ask()
		if err != nil {
			t.Fatal(err)
		}
		if raw, err := base64.RawURLEncoding.DecodeString(challenge); err != nil || len(raw) < 32 {
			t.Errorf("challenge of %d bytes, %v", len(raw), err)
		}
		for _, want := range []string{`"userVerification":"required"`, `"challenge":"` + challenge + `"`, "gateway.example", `"timeout":300000`} {
			if !strings.Contains(string(b), want) {
				t.Errorf("%s is not in %s", want, b)
			}
		}
		if bytes := string(b); strings.Contains(bytes, "attestation\":\"direct") {
			t.Error(bytes)
		}
	}
	b, _, _ := p.Register(alice, []passkey.Key{k})
	if id := base64.RawURLEncoding.EncodeToString(k.Credential); !strings.Contains(string(b), id) || !strings.Contains(string(b), `"attestation":"none"`) {
		t.Errorf("the same device could be added twice: %s", b)
	}
}

// The attacks of the design, one by one. Each is one change of an answer that would be right.
func TestWhatIsRefused(t *testing.T) {
	p := party(t)
	plain := vwa.AuthenticatorOptions{}
	d := newDevice(alice, plain)
	k := enrol(t, p, alice, d)
	elsewhere := func(change func(*vwa.RelyingParty)) vwa.RelyingParty { s := site; change(&s); return s }
	places := map[string]vwa.RelyingParty{
		"another origin":    elsewhere(func(s *vwa.RelyingParty) { s.Origin = "https://gateway.example.evil.example" }),
		"a sub-domain":      elsewhere(func(s *vwa.RelyingParty) { s.Origin = "https://x.gateway.example:8443" }),
		"another port":      elsewhere(func(s *vwa.RelyingParty) { s.Origin = "https://gateway.example" }),
		"another scheme":    elsewhere(func(s *vwa.RelyingParty) { s.Origin = "http://gateway.example:8443" }),
		"no origin":         elsewhere(func(s *vwa.RelyingParty) { s.Origin = "null" }),
		"another rpID":      elsewhere(func(s *vwa.RelyingParty) { s.ID = "evil.example" }),
		"the parent's rpID": elsewhere(func(s *vwa.RelyingParty) { s.ID = "example" }),
	}
	for what, at := range places {
		options, challenge, _ := p.Ask(alice, []passkey.Key{k})
		_, err := p.Check(alice, []passkey.Key{k}, challenge, d.sign(t, options, at), false)
		refused(t, "sign: "+what, err)
		options, challenge, _ = p.Register(alice, nil)
		_, err = p.Registered(alice, challenge, newDevice(alice, plain).make(t, options, at), "x", noon)
		refused(t, "enrol: "+what, err)
	}
	for what, o := range map[string]vwa.AuthenticatorOptions{
		"without verification (UV)": {UserNotVerified: true}, "without presence (UP)": {UserNotPresent: true},
		"backed up and not eligible": {BackupState: true}, "eligible all at once": {BackupEligible: true},
	} {
		changed := *d
		o.UserHandle = []byte(alice.ID)
		changed.Options = o
		options, challenge, _ := p.Ask(alice, []passkey.Key{k})
		_, err := p.Check(alice, []passkey.Key{k}, challenge, changed.sign(t, options, site), false)
		refused(t, "sign: "+what, err)
		if what == "eligible all at once" {
			continue // which is right at first
		}
		options, challenge, _ = p.Register(alice, nil)
		_, err = p.Registered(alice, challenge, newDevice(alice, o).make(t, options, site), "x", noon)
		refused(t, "enrol: "+what, err)
	}
	cloud := newDevice(alice, vwa.AuthenticatorOptions{BackupEligible: true})
	ck := enrol(t, p, alice, cloud)
	cloud.Options.BackupEligible = false
	options, challenge, _ := p.Ask(alice, []passkey.Key{ck})
	_, err := p.Check(alice, []passkey.Key{ck}, challenge, cloud.sign(t, options, site), false)
	refused(t, "no longer eligible", err)

	options, challenge, _ = p.Ask(alice, []passkey.Key{k})
	right := d.sign(t, options, site)
	_, other, _ := p.Ask(alice, []passkey.Key{k})
	_, err = p.Check(alice, []passkey.Key{k}, other, right, false)
	refused(t, "another challenge", err)
	_, err = p.Check(alice, []passkey.Key{k}, "", right, false)
	refused(t, "no challenge", err)
	_, err = p.Check(bob, []passkey.Key{k}, challenge, right, false)
	refused(t, "another person's name", err)
	bk := enrol(t, p, bob, newDevice(bob, plain))
	_, err = p.Check(bob, []passkey.Key{bk}, challenge, right, false)
	refused(t, "another person's key", err)
	swapped := k
	swapped.Public = bk.Public
	_, err = p.Check(alice, []passkey.Key{swapped}, challenge, right, false)
	refused(t, "a signature of another key", err)
	nameless := *d
	nameless.Options.UserHandle = nil
	options, challenge, _ = p.Ask(passkey.Person{}, nil)
	_, err = p.Check(alice, []passkey.Key{k}, challenge, nameless.sign(t, options, site), true)
	refused(t, "nobody is named", err)
	_, err = p.Check(alice, []passkey.Key{k}, challenge, d.make(t, mustRegister(t, p), site), false)
	refused(t, "an enrolment for a signature", err)
	for _, junk := range []string{"", "null", "{}", "[]", `{"id":"AA","rawId":"AA","type":"public-key","response":{}}`, strings.Repeat("[", 1<<16), strings.Repeat(" ", 1<<20)} {
		if _, err := passkey.Answered([]byte(junk)); !errors.Is(err, passkey.ErrRefused) {
			t.Errorf("%.40q: %v", junk, err)
		}
		_, err := p.Registered(alice, challenge, []byte(junk), "x", noon)
		refused(t, junk[:min(len(junk), 40)], err)
	}
}

func mustRegister(t *testing.T, p *passkey.Party) []byte {
	t.Helper()
	b, _, err := p.Register(alice, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// forged signs what a browser would say, changed.
func (d *device) forged(t *testing.T, change func(client map[string]any)) (answer []byte) {
	t.Helper()
	client := map[string]any{"type": "webauthn.get", "challenge": "", "origin": site.Origin, "crossOrigin": false}
	change(client)
	text, _ := json.Marshal(client)
	rp := sha256.Sum256([]byte(site.ID))
	d.cred.Counter++
	data := binary.BigEndian.AppendUint32(append(rp[:], 5), d.cred.Counter)
	sum := sha256.Sum256(text)
	digest := sha256.Sum256(append(append([]byte{}, data...), sum[:]...))
	sig, err := d.cred.Key.Sign(digest[:])
	if err != nil {
		t.Fatal(err)
	}
	b := base64.RawURLEncoding.EncodeToString
	answer, _ = json.Marshal(map[string]any{"type": "public-key", "id": b(d.cred.ID), "rawId": b(d.cred.ID),
		"response": map[string]any{"authenticatorData": b(data), "clientDataJSON": b(text), "signature": b(sig), "userHandle": b([]byte(alice.ID))}})
	return answer
}

// What a browser says of where it was asked.
func TestFramesOfOtherSites(t *testing.T) {
	p := party(t)
	d := newDevice(alice, vwa.AuthenticatorOptions{})
	k := enrol(t, p, alice, d)
	for what, change := range map[string]func(map[string]any){
		"":                   func(map[string]any) {},
		"in another's frame": func(c map[string]any) { c["crossOrigin"] = true },
		"below another":      func(c map[string]any) { c["crossOrigin"], c["topOrigin"] = true, "https://evil.example" },
		"below itself":       func(c map[string]any) { c["topOrigin"] = site.Origin },
		"of an enrolment":    func(c map[string]any) { c["type"] = "webauthn.create" },
		"of a payment":       func(c map[string]any) { c["type"] = "payment.get" },
	} {
		_, challenge, _ := p.Ask(alice, []passkey.Key{k})
		_, err := p.Check(alice, []passkey.Key{k}, challenge, d.forged(t, func(c map[string]any) { c["challenge"] = challenge; change(c) }), false)
		if what == "" {
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		refused(t, what, err)
	}
}

func TestTheCountOfSignatures(t *testing.T) {
	for _, c := range []struct {
		have, got uint32
		ok        bool
	}{{0, 0, true}, {0, 1, true}, {1, 2, true}, {5, 5, false}, {5, 4, false}, {5, 0, false}, {1<<32 - 1, 0, false}} {
		k := passkey.Key{Count: c.have}
		err := k.Take(passkey.Use{Count: c.got, BackedUp: true}, noon)
		if (err == nil) != c.ok || err != nil && (!errors.Is(err, passkey.ErrCount) || k.Count != c.have || k.BackedUp) || err == nil && k.Count != c.got {
			t.Errorf("%+v: %v, %+v", c, err, k)
		}
	}
}

func TestOrigins(t *testing.T) {
	for origin, ok := range map[string]bool{
		"https://gateway.example": true, "https://gateway.example:8443": true, "http://localhost:8081": true, "http://console.localhost:1": true,
		"http://gateway.example": false, "https://192.0.2.7": false, "http://127.0.0.1:8081": false, "https://[::1]:8081": false, "": false,
		"https://gateway.example/": false, "https://u@gateway.example": false, "gateway.example": false, "https://": false, "https://a/?x": false, "ftp://localhost": false,
	} {
		if _, err := passkey.New(origin, "x"); (err == nil) != ok {
			t.Errorf("%q: %v", origin, err)
		}
	}
	// The port that a scheme means is not part of an origin.
	p, err := passkey.New("https://Gateway.Example:443", "x")
	if err != nil {
		t.Fatal(err)
	}
	at := vwa.RelyingParty{ID: "gateway.example", Origin: "https://gateway.example"}
	options, challenge, _ := p.Register(alice, nil)
	if _, err := p.Registered(alice, challenge, newDevice(alice, vwa.AuthenticatorOptions{}).make(t, options, at), "x", noon); err != nil {
		t.Error(err)
	}
}

// No answer makes the checks panic, and none that was not signed is taken.
func FuzzAnswers(f *testing.F) {
	p, err := passkey.New(site.Origin, site.Name)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"type":"public-key","id":"AAAA","rawId":"AAAA","response":{"authenticatorData":"AAAA","clientDataJSON":"e30","signature":"AAAA","userHandle":"dXNlcl9h"}}`))
	f.Add([]byte(`{"type":"public-key","id":"AAAA","rawId":"AAAA","response":{"attestationObject":"o2NmbXRkbm9uZWdhdHRTdG10oGhhdXRoRGF0YUA","clientDataJSON":"e30"}}`))
	f.Add([]byte(`{"id":1}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		keys := []passkey.Key{{ID: "pk_1", Credential: []byte{0, 0, 0}, Public: []byte{0xa0}}}
		if _, err := p.Check(alice, keys, "Y2hhbGxlbmdlIG9mIHNpeHRlZW4gYnl0ZXM", answer, false); !errors.Is(err, passkey.ErrRefused) {
			t.Fatalf("%v", err)
		}
		if _, err := p.Registered(alice, "Y2hhbGxlbmdlIG9mIHNpeHRlZW4gYnl0ZXM", answer, "x", noon); !errors.Is(err, passkey.ErrRefused) {
			t.Fatalf("%v", err)
		}
	})
}
