package saml

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
	"github.com/russellhaering/goxmldsig/etreeutils"

	"sallyport.dev/sallyport/internal/iam/federation"
)

const (
	idpID  = "https://idp.test/metadata"
	spID   = "https://gateway.test/saml/corp"
	acsURL = "https://gateway.test/signin/corp"
)

// signer is a key with a certificate of its own.
type signer struct {
	key  crypto.Signer
	cert *x509.Certificate
}

// steady signs the same with the same bytes every time (ECDSA as RFC 6979 has it).
type steady struct{ crypto.Signer }

func (k steady) Sign(_ io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	return k.Signer.Sign(nil, digest, o)
}

// rsaOf is a key of 2048 bits that is the same in every process. It is no secret.
func rsaOf(seed string) *rsa.PrivateKey {
	n := 0
	prime := func() *big.Int {
		for {
			var b []byte
			for range 4 {
				sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", seed, n))
				b, n = append(b, sum[:]...), n+1
			}
			b[0] |= 0xc0 // so that the product has all of its bits
			b[127] |= 1
			p := new(big.Int).SetBytes(b)
			if new(big.Int).Mod(p, big.NewInt(65537)).Int64() != 1 && p.ProbablyPrime(10) {
				return p
			}
		}
	}
	one := big.NewInt(1)
	p, q := prime(), prime()
	k := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}, Primes: []*big.Int{p, q}}
	k.D = new(big.Int).ModInverse(big.NewInt(65537), new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)))
	k.Precompute()
	if err := k.Validate(); err != nil {
		panic(err)
	}
	return k
}

// serial numbers what the provider of the tests says: in the same order, the same.
var serial atomic.Int64

func newSigner(key crypto.Signer, from time.Time) signer {
	k := steady{key}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"}, NotBefore: from, NotAfter: from.Add(365 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(nil, tmpl, tmpl, k.Public(), k)
	if err != nil {
		panic(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return signer{k, c}
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var keys = sync.OnceValue(func() (out struct{ good, evil, ec, ended signer }) {
	// The same in every process, so that what a fuzzer finds in one is found in the next.
	k, k2 := rsaOf("good"), rsaOf("evil")
	e, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{7}, 32))
	if err != nil {
		panic(err)
	}
	out.good, out.evil, out.ec = newSigner(k, noon.Add(-time.Hour)), newSigner(k2, noon.Add(-time.Hour)), newSigner(e, noon.Add(-time.Hour))
	out.ended = newSigner(k, noon.Add(-2*365*24*time.Hour))
	return out
})

// sign puts an enveloped signature into el.
func (s signer) sign(t testing.TB, el *etree.Element, method string) {
	t.Helper()
	ctx, err := dsig.NewSigningContext(s.key, [][]byte{s.cert.Raw})
	if err != nil {
		t.Fatal(err)
	}
	ctx.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	if method != "" {
		if err := ctx.SetSignatureMethod(method); err != nil {
			t.Fatal(err)
		}
	}
	ns, err := etreeutils.NSBuildParentContext(el)
	if err != nil {
		t.Fatal(err)
	}
	alone, err := etreeutils.NSDetatch(ns, el)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := ctx.ConstructSignature(alone, true)
	if err != nil {
		t.Fatal(err)
	}
	el.InsertChildAt(1, sig) // after the issuer, where it belongs
}

// said is what the provider of the tests says. A zero value says nothing of the field.
type said struct {
	*rig
	by       signer
	method   string
	request  string // answers this
	assert   func(*etree.Element)
	response func(*etree.Element)
	whole    bool // the response is signed, too
	unsigned bool
}

// template is an assertion as identity providers write it; @ stands for what differs.
const template = `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="@RID" Version="2.0" IssueInstant="@NOW" Destination="@ACS" InResponseTo="@REQ"><saml:Issuer>@IDP</saml:Issuer><samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status><saml:Assertion xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xs="http://www.w3.org/2001/XMLSchema" ID="@AID" Version="2.0" IssueInstant="@NOW"><saml:Issuer>@IDP</saml:Issuer><saml:Subject><saml:NameID SPNameQualifier="@SP" Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">u-1</saml:NameID><saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData NotOnOrAfter="@END" Recipient="@ACS" InResponseTo="@REQ"/></saml:SubjectConfirmation></saml:Subject><saml:Conditions NotBefore="@BEGIN" NotOnOrAfter="@END"><saml:AudienceRestriction><saml:Audience>@SP</saml:Audience></saml:AudienceRestriction></saml:Conditions><saml:AuthnStatement AuthnInstant="@NOW" SessionIndex="s-1" SessionNotOnOrAfter="@SESSION"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement><saml:AttributeStatement><saml:Attribute Name="displayName"><saml:AttributeValue xsi:type="xs:string">Ada</saml:AttributeValue></saml:Attribute><saml:Attribute Name="mail"><saml:AttributeValue xsi:type="xs:string">ada@example.test</saml:AttributeValue></saml:Attribute><saml:Attribute Name="groups"><saml:AttributeValue xsi:type="xs:string">staff</saml:AttributeValue><saml:AttributeValue xsi:type="xs:string">admins</saml:AttributeValue></saml:Attribute><saml:Attribute Name="department"><saml:AttributeValue xsi:type="xs:string">R&amp;D</saml:AttributeValue></saml:Attribute></saml:AttributeStatement></saml:Assertion></samlp:Response>`

func (s said) xml() []byte {
	s.t.Helper()
	now := s.clock.now()
	at := func(d time.Duration) string { return now.Add(d).Format(samlTime) }
	doc := read(s.t, []byte(strings.NewReplacer(
		"@RID", fmt.Sprint("_r", serial.Add(1)), "@AID", fmt.Sprint("_a", serial.Add(1)), "@NOW", at(0), "@BEGIN", at(-time.Minute), "@END", at(5*time.Minute),
		"@SESSION", at(8*time.Hour), "@ACS", acsURL, "@REQ", s.request, "@IDP", idpID, "@SP", spID,
	).Replace(template)))
	a := doc.Root().FindElement("./saml:Assertion")
	if s.assert != nil {
		s.assert(a)
	}
	by := s.by
	if by.key == nil {
		by = keys().good
	}
	if !s.unsigned {
		// Signed as it stands in the response, with the namespaces of the response.
		by.sign(s.t, a, s.method)
	}
	if s.response != nil {
		s.response(doc.Root())
	}
	if s.whole {
		by.sign(s.t, doc.Root(), s.method)
	}
	return write(s.t, doc)
}

func read(t testing.TB, b []byte) *etree.Document {
	t.Helper()
	d := etree.NewDocument()
	if err := d.ReadFromBytes(b); err != nil {
		t.Fatal(err)
	}
	return d
}

func write(t testing.TB, d *etree.Document) []byte {
	t.Helper()
	b, err := d.WriteToBytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }
func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

type rig struct {
	t testing.TB
	*Provider
	clock *clock
}

func newRig(t testing.TB, change ...func(*Options)) *rig {
	t.Helper()
	c := &clock{at: noon}
	s, err := federation.NewSealer(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Name: "corp", EntityID: spID, ACS: acsURL, Sealer: s, Once: federation.NewMemory(0, c.now), Now: c.now,
		IdP: IdP{EntityID: idpID, SSO: "https://idp.test/sso?tenant=1", Certificates: []*x509.Certificate{keys().ec.cert, keys().good.cert}},
	}
	for _, f := range change {
		f(&o)
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, Provider: p, clock: c}
}

// begin starts a sign-in and reads its AuthnRequest.
func (r *rig) begin(ask federation.Ask) (*federation.Pending, *etree.Element) {
	r.t.Helper()
	p, err := r.Start(r.t.Context(), ask)
	if err != nil {
		r.t.Fatal(err)
	}
	return p, readRequest(r.t, p.URL)
}

func readRequest(t testing.TB, where string) *etree.Element {
	t.Helper()
	u, err := url.Parse(where)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(u.Query().Get("SAMLRequest"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err = io.ReadAll(flate.NewReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return read(t, raw).Root()
}

func id(el *etree.Element) string { return el.SelectAttrValue("ID", "") }

// signIn does all of it; answer changes what the provider says.
func (r *rig) signIn(ask federation.Ask, answer func(*said)) (*federation.Signed, error) {
	r.t.Helper()
	p, req := r.begin(ask)
	s := said{rig: r, request: id(req)}
	if answer != nil {
		answer(&s)
	}
	return r.finish(s.xml(), p.Cookie)
}

func (r *rig) finish(doc []byte, cookie string) (*federation.Signed, error) {
	return r.Finish(r.t.Context(), base64.StdEncoding.EncodeToString(doc), cookie)
}

func refused(t testing.TB, err error, why ...string) {
	t.Helper()
	var r *federation.Refusal
	if !errors.As(err, &r) {
		t.Errorf("expected a refusal, not %v", err)
		return
	}
	for _, w := range why {
		if !strings.Contains(r.Reason, w) {
			t.Errorf("%q does not say %q", r.Reason, w)
		}
	}
}
