package saml

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"
)

const (
	maxMetadata     = 1 << 20
	maxCertificates = 8
)

// ParseMetadata reads an identity provider's metadata, from a file that an operator trusts: its
// signature is not checked. Where the file describes several, entityID says which. One that is not
// valid now is refused.
func ParseMetadata(raw []byte, entityID string, now time.Time) (*IdP, error) {
	idp, err := parseMetadata(raw, entityID, now)
	if err != nil {
		return nil, fmt.Errorf("saml: read metadata: %w", err)
	}
	return idp, nil
}

func parseMetadata(raw []byte, entityID string, now time.Time) (*IdP, error) {
	root, err := parse(raw, maxMetadata, true)
	if err != nil {
		return nil, err
	}
	var found []*etree.Element
	for el := range all(root) {
		if !is(el, nsMetadata, "EntityDescriptor") && !is(el, nsMetadata, "EntitiesDescriptor") {
			continue
		}
		if s := attribute(el, "validUntil"); s != "" {
			if t, ok := instant(s); !ok || !now.Before(t) {
				return nil, errors.New("it is no longer valid; fetch it from the provider again")
			}
		}
		if el.Tag == "EntityDescriptor" && only(el, nsMetadata, "IDPSSODescriptor") != nil && (entityID == "" || attribute(el, "entityID") == entityID) {
			found = append(found, el)
		}
	}
	switch {
	case len(found) == 0:
		return nil, errors.New("it describes no identity provider, or not the one that is configured")
	case len(found) > 1:
		return nil, errors.New("it describes several identity providers; configure the entity id of one")
	}
	d := only(found[0], nsMetadata, "IDPSSODescriptor")
	if !slices.Contains(strings.Fields(attribute(d, "protocolSupportEnumeration")), nsProtocol) {
		return nil, errors.New("the provider does not speak SAML 2.0")
	}
	idp := &IdP{EntityID: attribute(found[0], "entityID")}
	for _, s := range children(d, nsMetadata, "SingleSignOnService") {
		if attribute(s, "Binding") == bindingRedirect && idp.SSO == "" {
			idp.SSO = attribute(s, "Location")
		}
	}
	if idp.SSO == "" {
		return nil, errors.New("the provider offers no sign-on by redirect")
	}
	for _, k := range children(d, nsMetadata, "KeyDescriptor") {
		if u := attribute(k, "use"); u != "" && u != "signing" {
			continue
		}
		for el := range all(k) {
			if !is(el, nsSignature, "X509Certificate") {
				continue
			}
			c, err := certificate(el)
			if err != nil {
				return nil, err
			}
			if !slices.ContainsFunc(idp.Certificates, c.Equal) {
				idp.Certificates = append(idp.Certificates, c)
			}
		}
	}
	if len(idp.Certificates) == 0 || len(idp.Certificates) > maxCertificates {
		return nil, fmt.Errorf("expected 1 to %d certificates to verify with", maxCertificates)
	}
	return idp, nil
}

func certificate(el *etree.Element) (*x509.Certificate, error) {
	s, ok := text(el)
	if !ok {
		return nil, errors.New("a certificate is not text")
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		return nil, errors.New("a certificate is not base64")
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("a certificate: %w", err)
	}
	return c, checkKey(c)
}
