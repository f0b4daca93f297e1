package saml

import (
	"crypto/x509"
	"errors"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
	"github.com/russellhaering/goxmldsig/etreeutils"
)

// What a signature may use. SHA-1 is not among them.
var (
	signatureMethods = map[string]bool{
		dsig.RSASHA256SignatureMethod: true, dsig.RSASHA384SignatureMethod: true, dsig.RSASHA512SignatureMethod: true,
		dsig.ECDSASHA256SignatureMethod: true, dsig.ECDSASHA384SignatureMethod: true, dsig.ECDSASHA512SignatureMethod: true,
	}
	digestMethods = map[string]bool{
		"http://www.w3.org/2001/04/xmlenc#sha256": true, "http://www.w3.org/2001/04/xmldsig-more#sha384": true, "http://www.w3.org/2001/04/xmlenc#sha512": true,
	}
	excC14N   = dsig.CanonicalXML10ExclusiveAlgorithmId.String()
	enveloped = dsig.EnvelopedSignatureAltorithmId.String()
)

// shape checks that a Response has the only form that is expected, whatever its signatures are
// worth: one assertion, at its place, and signatures nowhere but in the elements they sign. It is
// what signature wrapping must break ("On Breaking SAML", USENIX Security 2012).
func shape(root *etree.Element) (assertion *etree.Element, err error) {
	if !is(root, nsProtocol, "Response") {
		return nil, errors.New("the document is no SAML 2.0 Response")
	}
	for el := range all(root) {
		parent := el.Parent()
		switch el.Tag {
		case "EncryptedAssertion", "EncryptedID", "EncryptedAttribute":
			return nil, errors.New("the assertion is encrypted, which is not supported: have the provider sign it and leave it unencrypted (TLS protects it)")
		case "Response":
			if el != root {
				return nil, errors.New("a Response within the Response")
			}
		case "Assertion":
			if assertion != nil || parent != root || !is(el, nsAssertion, "Assertion") {
				return nil, errors.New("an Assertion out of its place, or more than one")
			}
			assertion = el
		case "Signature":
			if parent != root && !is(parent, nsAssertion, "Assertion") || !is(el, nsSignature, "Signature") || only(parent, nsSignature, "Signature") == nil {
				return nil, errors.New("a Signature out of its place, or more than one")
			}
		case "Advice", "Object", "Manifest", "RetrievalMethod":
			return nil, errors.New("an element that may hide another assertion: " + el.Tag)
		}
	}
	if assertion == nil {
		return nil, errors.New("the Response holds no Assertion")
	}
	return assertion, nil
}

// checkSignature checks that the signature of an element signs just that element, whole.
func checkSignature(el *etree.Element) error {
	sig := only(el, nsSignature, "Signature")
	if sig == nil {
		return errors.New("it is not signed")
	}
	for _, c := range sig.ChildElements() {
		if !is(c, nsSignature, "SignedInfo") && !is(c, nsSignature, "SignatureValue") && !is(c, nsSignature, "KeyInfo") {
			return errors.New("its signature holds something unknown")
		}
	}
	info, value := only(sig, nsSignature, "SignedInfo"), only(sig, nsSignature, "SignatureValue")
	if info == nil || value == nil || len(children(sig, nsSignature, "KeyInfo")) > 1 || len(info.ChildElements()) != 3 {
		return errors.New("its signature has not the expected parts")
	}
	c14n, method, ref := only(info, nsSignature, "CanonicalizationMethod"), only(info, nsSignature, "SignatureMethod"), only(info, nsSignature, "Reference")
	if c14n == nil || method == nil || ref == nil {
		return errors.New("its signature signs several things, or none")
	}
	id := attribute(el, "ID")
	if id == "" || attribute(ref, "URI") != "#"+id {
		return errors.New("its signature is about something else")
	}
	if attribute(c14n, "Algorithm") != excC14N {
		return errors.New("its signature is canonicalised in a way that is not accepted")
	}
	if !signatureMethods[attribute(method, "Algorithm")] {
		return errors.New("its signature algorithm is not accepted: expected RSA or ECDSA with SHA-256 or more")
	}
	digest, transforms := only(ref, nsSignature, "DigestMethod"), only(ref, nsSignature, "Transforms")
	if digest == nil || only(ref, nsSignature, "DigestValue") == nil || transforms == nil || len(ref.ChildElements()) != 3 {
		return errors.New("its signature has not the expected parts")
	}
	if !digestMethods[attribute(digest, "Algorithm")] {
		return errors.New("its digest algorithm is not accepted: expected SHA-256 or more")
	}
	steps := transforms.ChildElements()
	if len(steps) != 2 || attribute(steps[0], "Algorithm") != enveloped || attribute(steps[1], "Algorithm") != excC14N {
		return errors.New("its signature transforms what it signs in a way that is not accepted")
	}
	return nil
}

// verify checks the signature of an element with the provider's certificates, and returns the
// element as it was signed. Nothing else of it may be believed.
func (p *Provider) verify(el *etree.Element, now time.Time) (*etree.Element, error) {
	if err := checkSignature(el); err != nil {
		return nil, err
	}
	// Its namespaces may be declared further out.
	ctx, err := etreeutils.NSBuildParentContext(el)
	if err != nil {
		return nil, errors.New("its namespaces cannot be read")
	}
	own, err := etreeutils.NSDetatch(ctx, el)
	if err != nil {
		return nil, errors.New("its namespaces cannot be read")
	}
	// The sender's word on which key it is decides nothing: each of the provider's is tried.
	sig := only(own, nsSignature, "Signature")
	if sig == nil {
		return nil, errors.New("it is not signed")
	}
	if k := only(sig, nsSignature, "KeyInfo"); k != nil {
		sig.RemoveChild(k)
	}
	for _, c := range p.o.IdP.Certificates {
		v := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{c}})
		v.Clock = dsig.NewFakeClockAt(now)
		got, err := v.Validate(own)
		if err != nil || got == nil {
			continue
		}
		if got.Tag != el.Tag || got.NamespaceURI() != el.NamespaceURI() || attribute(got, "ID") != attribute(el, "ID") {
			return nil, errors.New("its signature is about something else")
		}
		return got, nil
	}
	return nil, errors.New("its signature is wrong, by another key, or the provider's certificate has ended")
}
