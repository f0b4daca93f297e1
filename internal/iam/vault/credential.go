// Package vault keeps the providers' credentials: what the gateway sends upstream and no client ever
// sees. Each is sealed (package envelope) for its own row and version, has several versions of which
// one is active, and is replaced without a restart. What the store holds is of no use without the
// key-encryption key.
package vault

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/secret/envelope"
)

// Kind is the kind of document that a credential is kept as.
const Kind = "provider_credential"

// Bounds.
const (
	maxName     = 200
	maxReason   = 500
	minReason   = 8
	maxVersions = 16 // that are not retired
	keepRetired = 16
)

// What the vault says when it refuses.
var (
	ErrNoVersion = errors.New("vault: the credential has no such version")
	ErrActive    = errors.New("vault: this version is in use; activate another first, or remove the credential")
	ErrRetired   = errors.New("vault: this version was retired, its value is gone")
)

// ErrInvalid is in every error about what was asked for, which whoever asked may see and can mend.
var ErrInvalid = errors.New("vault: invalid")

// Credential is all that may be known of a provider's credential. The value is not in it.
type Credential struct {
	ID string `json:"id"`
	// Tenant is who may spend it; "" for all tenants that have none of their own.
	Tenant string `json:"tenant"`
	// Upstream names the provider. A tenant has at most one credential for each.
	Upstream string    `json:"upstream"`
	Name     string    `json:"name"`
	Active   int       `json:"active"` // number of the version that is sent; 0: none
	Versions []Version `json:"versions"`
	Created  time.Time `json:"created"`
}

// Version is one value that a credential has or had. Numbers grow and are never used again.
type Version struct {
	Number    int       `json:"number"`
	Created   time.Time `json:"created"`
	Activated time.Time `json:"activated,omitzero"` // the last time
	Retired   time.Time `json:"retired,omitzero"`   // the value was deleted then
}

// Version finds a version.
func (c *Credential) Version(number int) *Version {
	for i := range c.Versions {
		if c.Versions[i].Number == number {
			return &c.Versions[i]
		}
	}
	return nil
}

// row is a credential as it is stored. Only this package sees the sealed values.
type row struct {
	Credential
	Last   int               `json:"last"` // highest number that was given out
	Sealed map[string][]byte `json:"sealed"`
}

// Head makes a row a document.
func (r row) Head() document.Head {
	return document.Head{Kind: Kind, ID: r.ID, Tenant: r.Tenant, Keys: []string{document.Key("upstream", r.Tenant, r.Upstream)}}
}

// public is what may be shown. It shares nothing with r.
func (r *row) public() *Credential {
	c := r.Credential
	c.Versions = append([]Version(nil), c.Versions...)
	return &c
}

// place is where the value of a version is sealed for.
func place(id string, number int) envelope.Place {
	return envelope.Place{Table: Kind, Row: id, Column: "version/" + strconv.Itoa(number)}
}

func newID() string {
	var b [10]byte
	_, _ = rand.Read(b[:])
	return "pc_" + strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// checkLabel keeps out what would hurt a terminal or a log.
func checkLabel(what, s string, least, most int) error {
	if len(strings.TrimSpace(s)) < least || len(s) > most || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("%w: %s: expected %d to %d bytes of printable text", ErrInvalid, what, least, most)
	}
	return nil
}

// checkTenant takes what a document can belong to.
func checkTenant(s string) error {
	if len(s) > document.MaxID || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("%w: a tenant is printable ASCII without spaces", ErrInvalid)
	}
	return nil
}

// checkValue takes what can be sent in a header. The error does not hold it.
func checkValue(s string) error {
	if s == "" || len(s) > 16<<10 {
		return fmt.Errorf("%w: a credential is 1 byte to 16 KiB", ErrInvalid)
	}
	if s != strings.TrimSpace(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Errorf("%w: a credential is printable ASCII without a space at its ends or a line break", ErrInvalid)
	}
	return nil
}
