package iam

import (
	"net/netip"
	"strings"
	"unique"
)

// same keeps one copy of what many keys have alike. A hundred thousand keys have a handful of scopes
// between them: in one place these stay in the processor's cache, and the collector passes over them once.
type same struct {
	lists  map[string][]string
	ranges map[string][]netip.Prefix
}

// maxSame is how many lists are remembered before they are forgotten: keys keep those that they have.
const maxSame = 10_000

// begin is called before the keys of a reading; of a whole one what was before is not needed any more.
func (s *same) begin(whole bool) {
	if s.lists == nil || whole || len(s.lists)+len(s.ranges) > maxSame {
		s.lists, s.ranges = map[string][]string{}, map[string][]netip.Prefix{}
	}
}

// of replaces what a key has in lists and names by the copy that others have too.
func (s *same) of(k *Key) {
	for _, l := range []*[]string{&k.Scopes.Upstreams, &k.Scopes.Endpoints, &k.Scopes.Models, &k.Tools, &k.Features, &k.Data, &k.SPIFFE} {
		*l = s.list(*l)
	}
	if len(k.CIDRs) > 0 {
		var b []byte
		for _, c := range k.CIDRs {
			b = append(c.AppendTo(b), ' ')
		}
		if _, ok := s.ranges[string(b)]; !ok {
			s.ranges[string(b)] = k.CIDRs
		}
		k.CIDRs = s.ranges[string(b)]
	}
	for _, t := range []*string{&k.Tenant, &k.Team, &k.Principal, &k.Class, &k.PepperVersion, &k.Owner} {
		*t = unique.Make(*t).Value()
	}
}

// list leaves nil and empty as they are: they mean different things.
func (s *same) list(l []string) []string {
	if len(l) == 0 {
		return l
	}
	id := strings.Join(l, "\x00") // which is in no pattern
	if _, ok := s.lists[id]; !ok {
		s.lists[id] = l
	}
	return s.lists[id]
}
