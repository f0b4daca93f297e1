// Package iam answers who is calling and what they may do. In passthrough mode a caller is known
// by a keyed hash of the provider credential it brings; in keys mode by a Sallyport key, whose
// scopes say where it may go. Nothing here keeps or prints a credential.
package iam

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sallyport.dev/sallyport/internal/iam/apikey"
)

// Key is one API key as it is kept. It cannot be used as one: of the secret it holds only hashes.
type Key struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Owner string `json:"owner"`

	// Current is the hash of the newest secret. Previous is that of the one before, valid until
	// PreviousUntil; both zero when there is none.
	Current       apikey.Hash `json:"-"`
	Previous      apikey.Hash `json:"-"`
	PreviousUntil time.Time   `json:"previous_until,omitzero"`
	PepperVersion string      `json:"pepper_version"`

	Scopes Scopes `json:"scopes"`
	// CIDRs are the addresses it may be used from; none means from anywhere.
	CIDRs []netip.Prefix `json:"cidrs,omitempty"`

	Created   time.Time `json:"created"`
	NotBefore time.Time `json:"not_before,omitzero"`
	Expires   time.Time `json:"expires,omitzero"` // not valid from this moment on; zero: never
	Revoked   time.Time `json:"revoked,omitzero"`
	LastUsed  time.Time `json:"last_used,omitzero"` // to the hour
}

// Status is the state of a key at one moment: "active", "not_yet_valid", "expired" or "revoked".
func (k *Key) Status(now time.Time) string {
	switch {
	case !k.Revoked.IsZero():
		return "revoked"
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return "expired"
	case now.Before(k.NotBefore):
		return "not_yet_valid"
	}
	return "active"
}

// Scopes is what a key may reach. Each list holds patterns in which * stands for any run of
// characters. An empty list allows nothing; all of it must be asked for, with "*".
type Scopes struct {
	Upstreams []string `json:"upstreams"`
	Endpoints []string `json:"endpoints"`
	// Models applies to calls that name a model. See Authorize for calls that name none.
	Models []string `json:"models"`
}

// Bounds of what a key may hold, so that a store cannot be filled by one.
const (
	maxName, maxPatterns, maxPattern, maxCIDRs = 200, 64, 200, 64
)

// NewKey is what is asked for when a key is made.
type NewKey struct {
	Name, Owner string
	Scopes      Scopes
	CIDRs       []netip.Prefix
	NotBefore   time.Time // zero: at once
	Expires     time.Time // zero: never
}

func (n *NewKey) check(now time.Time) error {
	if err := checkLabel("name", n.Name, true); err != nil {
		return err
	}
	if err := checkLabel("owner", n.Owner, false); err != nil {
		return err
	}
	for _, l := range []struct {
		what     string
		patterns []string
	}{{"upstreams", n.Scopes.Upstreams}, {"endpoints", n.Scopes.Endpoints}, {"models", n.Scopes.Models}} {
		if len(l.patterns) == 0 {
			return fmt.Errorf(`iam: scope %s is empty, so the key could do nothing; name them, or give "*" for all`, l.what)
		}
		if len(l.patterns) > maxPatterns {
			return fmt.Errorf("iam: scope %s has more than %d patterns", l.what, maxPatterns)
		}
		for _, p := range l.patterns {
			if p == "" || len(p) > maxPattern || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r > '~' }) {
				return fmt.Errorf("iam: scope %s: expected patterns of 1 to %d printable ASCII characters without spaces", l.what, maxPattern)
			}
		}
	}
	if len(n.CIDRs) > maxCIDRs {
		return fmt.Errorf("iam: more than %d address ranges", maxCIDRs)
	}
	for _, c := range n.CIDRs {
		if !c.IsValid() || c != c.Masked() || c.Addr().Is4In6() {
			return fmt.Errorf("iam: %v is not an address range such as 10.0.0.0/8", c)
		}
	}
	if !n.Expires.IsZero() && !n.Expires.After(now) {
		return fmt.Errorf("iam: the key would have expired already")
	}
	if !n.Expires.IsZero() && !n.Expires.After(n.NotBefore) {
		return fmt.Errorf("iam: the key would expire before it becomes valid")
	}
	return nil
}

// checkLabel keeps out what would hurt a terminal or a log that a label is shown in.
func checkLabel(what, s string, required bool) error {
	if required && strings.TrimSpace(s) == "" {
		return fmt.Errorf("iam: %s is missing", what)
	}
	if len(s) > maxName || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("iam: %s: expected at most %d bytes of printable text", what, maxName)
	}
	if strings.Contains(s, apikey.Prefix) {
		return fmt.Errorf("iam: %s looks like a key; give it a label instead", what)
	}
	return nil
}
