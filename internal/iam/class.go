package iam

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// DefaultClass is the class of a key that names none.
const DefaultClass = "standard"

// Class is a rotation policy for keys: how old a secret may become, how long before that its holder is
// warned, and how long the secret before it stays valid after a rotation.
type Class struct {
	MaxAge  time.Duration // zero: for ever. A secret that is older is refused (forced expiry).
	Warn    time.Duration // before MaxAge
	Overlap time.Duration // when a rotation does not say how long
}

// Classes are the rotation policies by name. A key of a class that is not among them is held to
// DefaultClass, and without that to none.
type Classes map[string]Class

func (cs Classes) of(k *Key) Class {
	if c, ok := cs[k.Class]; ok {
		return c
	}
	return cs[DefaultClass]
}

// Overlap is how long the secret before stays valid when a key is rotated and nobody says how long.
func (cs Classes) Overlap(k *Key) time.Duration { return cs.of(k).Overlap }

// madeAt is when the current secret of a key was made.
func (k *Key) madeAt() time.Time {
	if !k.Rotated.IsZero() {
		return k.Rotated
	}
	return k.Created
}

// Ends is when the current secret stops being valid, by its key's own expiry or by its age; zero: never.
func (cs Classes) Ends(k *Key) time.Time {
	end := k.Expires
	if c := cs.of(k); c.MaxAge > 0 {
		if old := k.madeAt().Add(c.MaxAge); end.IsZero() || old.Before(end) {
			end = old
		}
	}
	return end
}

// Status is Key.Status with the rotation policy in force: "too_old" for a secret past its age.
func (cs Classes) Status(k *Key, now time.Time) string {
	s := k.Status(now)
	if s == "active" {
		if c := cs.of(k); c.MaxAge > 0 && !now.Before(k.madeAt().Add(c.MaxAge)) {
			return "too_old"
		}
	}
	return s
}

// Due is a key whose secret has to be rotated, or will have to.
type Due struct {
	Key  Key       `json:"key"`
	Ends time.Time `json:"ends"`
	Over bool      `json:"over"` // it is not valid any more
}

// Due lists the keys whose secrets are in the time of warning or past their age, those that end first
// first. Revoked and expired keys are not among them: nobody waits for those.
func (s *Service) Due(ctx context.Context, cs Classes) ([]Due, error) {
	keys, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	now := s.now()
	var due []Due
	for i := range keys {
		k := &keys[i]
		c := cs.of(k)
		if st := k.Status(now); c.MaxAge == 0 || st == "revoked" || st == "expired" {
			continue
		}
		if end := k.madeAt().Add(c.MaxAge); !now.Before(end.Add(-c.Warn)) {
			due = append(due, Due{Key: *k, Ends: end, Over: !now.Before(end)})
		}
	}
	slices.SortFunc(due, func(a, b Due) int { return a.Ends.Compare(b.Ends) })
	return due, nil
}

// Filter says which keys an act on many is for. Empty fields match all; at least one must be set, so
// that nobody means all of them by accident. All says all.
type Filter struct {
	All                            bool
	Tenant, Team, Principal, Class string
	IDs                            []string
	UsedSince                      time.Time // used at or after, to the hour; or made since and not used yet
}

func (f *Filter) matches(k *Key) bool {
	if len(f.IDs) > 0 && !slices.Contains(f.IDs, k.ID) {
		return false
	}
	class := k.Class
	if class == "" {
		class = DefaultClass
	}
	for _, p := range [][2]string{{f.Tenant, k.Tenant}, {f.Team, k.Team}, {f.Principal, k.Principal}, {f.Class, class}} {
		if p[0] != "" && p[0] != p[1] {
			return false
		}
	}
	return f.UsedSince.IsZero() || !k.LastUsed.Before(f.UsedSince.Truncate(useGrain)) || !k.Created.Before(f.UsedSince)
}

func (f *Filter) empty() bool {
	return !f.All && f.Tenant == "" && f.Team == "" && f.Principal == "" && f.Class == "" && len(f.IDs) == 0 && f.UsedSince.IsZero()
}

// Check says what is wrong with a filter.
func (f *Filter) Check() error {
	if f.empty() {
		return &Invalid{errors.New("iam: the filter names nothing; say which keys, or all")}
	}
	return nil
}

// names says whether a filter names a key that is living.
func (f *Filter) names(k *Key, now time.Time) bool {
	st := k.Status(now)
	return st != "revoked" && st != "expired" && f.matches(k)
}

// Matching lists the living keys that a filter names.
func (s *Service) Matching(ctx context.Context, f Filter) ([]Key, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	keys, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	now := s.now()
	return slices.DeleteFunc(keys, func(k Key) bool { return !f.names(&k, now) }), nil
}

// KnownMatching is Service.Matching of the keys in memory, as they were when the store last answered,
// oldest first; keys that were recalled are not among them. An empty filter names none.
func (m *IAM) KnownMatching(f Filter) (keys []Key) {
	if m.ring == nil || f.Check() != nil {
		return nil
	}
	s := m.ring.snap.Load()
	if s == nil {
		return nil
	}
	now := m.now()
	for e := range s.keys.all() {
		if k := e.key; f.names(&k, now) && (m.recalls == nil || !m.recalls.Recalled(k.ID)) {
			k.memo = nil
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b Key) int { return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID)) })
	return keys
}
