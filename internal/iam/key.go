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
	"sallyport.dev/sallyport/internal/iam/peer"
	"sallyport.dev/sallyport/internal/iam/quota"
)

// Key is one API key as it is kept. It cannot be used as one: of the secret it holds only hashes.
type Key struct {
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
	Owner  string `json:"owner"`

	// Current is the hash of the newest secret. Previous is that of the one before, valid until
	// PreviousUntil; both zero when there is none.
	Current       apikey.Hash `json:"-"`
	Previous      apikey.Hash `json:"-"`
	PreviousUntil time.Time   `json:"previous_until,omitzero"`
	PepperVersion string      `json:"pepper_version"`

	Scopes Scopes `json:"scopes"`
	// CIDRs are the addresses it may be used from; none means from anywhere.
	CIDRs []netip.Prefix `json:"cidrs,omitempty"`
	Detail

	Created   time.Time `json:"created"`
	NotBefore time.Time `json:"not_before,omitzero"`
	Expires   time.Time `json:"expires,omitzero"` // not valid from this moment on; zero: never
	Revoked   time.Time `json:"revoked,omitzero"`
	LastUsed  time.Time `json:"last_used,omitzero"` // to the hour

	memo *Memo
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

// Detail is what else is said of a key. A key of a release that knew none of it has the zero value,
// which limits nothing further.
type Detail struct {
	Team      string `json:"team,omitempty"`      // id
	Principal string `json:"principal,omitempty"` // id of the person, service or agent that calls with it
	Class     string `json:"class,omitempty"`     // names the rotation policy; empty: "standard"
	Purpose   string `json:"purpose,omitempty"`
	// Tools are patterns of the tools that may be offered to a model, Features of what else a call may
	// use (see Features), Data of the classes of data that may be in what is sent. Nil: all; empty: none.
	Tools    []string `json:"tools,omitzero"`
	Features []string `json:"features,omitzero"`
	Data     []string `json:"data,omitzero"`
	// SPIFFE are patterns of SPIFFE ids, one of which the caller's certificate must have too.
	SPIFFE  []string `json:"spiffe,omitempty"`
	Budgets []Budget `json:"budgets,omitempty"`
	// Shared says that it is used from many places on purpose.
	Shared bool `json:"shared,omitzero"`
	// Rotated is when the current secret was made; zero: when the key was.
	Rotated time.Time `json:"rotated,omitzero"`
}

// Budget is how much of a unit may be used within a window.
type Budget struct {
	Unit   string       `json:"unit"` // requests, tokens, cost (micro-units of the currency), bytes, concurrency
	Amount int64        `json:"amount"`
	Window quota.Window `json:"window,omitzero"` // none for concurrency
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
	maxName, maxPatterns, maxPattern, maxCIDRs, maxBudgets = 200, 64, 200, 64, 16
)

// NewKey is what is asked for when a key is made.
type NewKey struct {
	Tenant      string // empty: the default one
	Name, Owner string
	Scopes      Scopes
	CIDRs       []netip.Prefix
	NotBefore   time.Time // zero: at once
	Expires     time.Time // zero: never
	Detail      Detail    // Rotated is set by the service
}

func (n *NewKey) check(now time.Time) error {
	if err := checkLabel("name", n.Name, true); err != nil {
		return err
	}
	for _, l := range []struct{ what, s string }{{"owner", n.Owner}, {"purpose", n.Detail.Purpose}, {"team", n.Detail.Team}, {"principal", n.Detail.Principal}, {"class", n.Detail.Class}} {
		if err := checkLabel(l.what, l.s, false); err != nil {
			return err
		}
	}
	if err := n.Scopes.check(); err != nil {
		return err
	}
	if err := n.Detail.check(); err != nil {
		return err
	}
	if err := checkRanges(n.CIDRs); err != nil {
		return err
	}
	if !n.Expires.IsZero() && !n.Expires.After(now) {
		return fmt.Errorf("iam: the key would have expired already")
	}
	if !n.Expires.IsZero() && !n.Expires.After(n.NotBefore) {
		return fmt.Errorf("iam: the key would expire before it becomes valid")
	}
	return nil
}

func (s *Scopes) check() error {
	for _, l := range []struct {
		what     string
		patterns []string
	}{{"upstreams", s.Upstreams}, {"endpoints", s.Endpoints}, {"models", s.Models}} {
		if len(l.patterns) == 0 {
			return fmt.Errorf(`iam: scope %s is empty, so the key could do nothing; name them, or give "*" for all`, l.what)
		}
		if err := checkPatterns(l.what, l.patterns); err != nil {
			return err
		}
	}
	return nil
}

func (d *Detail) check() error {
	for _, l := range []struct {
		what     string
		patterns []string
	}{{"tools", d.Tools}, {"features", d.Features}, {"data", d.Data}, {"spiffe", d.SPIFFE}} {
		if err := checkPatterns(l.what, l.patterns); err != nil {
			return err
		}
	}
	for _, p := range d.SPIFFE {
		if err := peer.Check(p); err != nil {
			return err
		}
	}
	if len(d.Budgets) > maxBudgets {
		return fmt.Errorf("iam: more than %d budgets", maxBudgets)
	}
	for _, b := range d.Budgets {
		if err := b.Check(); err != nil {
			return err
		}
	}
	return nil
}

// Units of a budget.
const (
	UnitRequests    = "requests"
	UnitTokens      = "tokens"
	UnitCost        = "cost"
	UnitBytes       = "bytes"
	UnitConcurrency = "concurrency"
)

// Check says what is wrong with a budget.
func (b *Budget) Check() error {
	switch b.Unit {
	case UnitRequests, UnitTokens, UnitCost, UnitBytes:
		if w := b.Window; w != quota.Month && (w < quota.Second || w > 31*quota.Day || w%quota.Second != 0) {
			return fmt.Errorf("iam: budget of %s: expected a window: month, or whole seconds, at most 31 days", b.Unit)
		}
	case UnitConcurrency:
		if b.Window != 0 {
			return fmt.Errorf("iam: a budget of concurrency has no window")
		}
	default:
		return fmt.Errorf("iam: budget: unknown unit %q; expected requests, tokens, cost, bytes or concurrency", b.Unit)
	}
	if b.Amount < 0 || b.Amount > 1<<50 {
		return fmt.Errorf("iam: budget of %s: the amount is negative or too large", b.Unit)
	}
	return nil
}

func checkPatterns(what string, patterns []string) error {
	if len(patterns) > maxPatterns {
		return fmt.Errorf("iam: scope %s has more than %d patterns", what, maxPatterns)
	}
	for _, p := range patterns {
		if p == "" || len(p) > maxPattern || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("iam: scope %s: expected patterns of 1 to %d printable ASCII characters without spaces", what, maxPattern)
		}
	}
	return nil
}

func checkRanges(cidrs []netip.Prefix) error {
	if len(cidrs) > maxCIDRs {
		return fmt.Errorf("iam: more than %d address ranges", maxCIDRs)
	}
	for _, c := range cidrs {
		if !c.IsValid() || c != c.Masked() || c.Addr().Is4In6() {
			return fmt.Errorf("iam: %v is not an address range such as 10.0.0.0/8", c)
		}
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
