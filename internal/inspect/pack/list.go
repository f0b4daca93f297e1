package pack

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// Listed is an installed pack.
type Listed struct {
	ID      string    `json:"id"`
	Active  bool      `json:"active"`
	Before  bool      `json:"before,omitempty"` // was active: a rollback can go there
	Created time.Time `json:"created,omitzero"`
	Signer  string    `json:"signer,omitempty"`
	Digest  string    `json:"digest,omitempty"`
	Bytes   int       `json:"bytes,omitempty"`
	Problem string    `json:"problem,omitempty"` // why it cannot be used
}

// List verifies every installed pack, by name and version.
func (s *Store) List() ([]Listed, error) {
	st, err := s.State()
	if err != nil {
		return nil, err
	}
	was := func(id string) bool { return slices.ContainsFunc(st.History, func(e Entry) bool { return e.ID == id }) }
	out := []Listed{{ID: Builtin, Active: st.Active.ID == Builtin, Before: was(Builtin)}}
	ents, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	seen := map[string]bool{}
	for _, e := range ents {
		id, ok := strings.CutSuffix(e.Name(), ".pack")
		if !ok || !ValidID(id) {
			continue
		}
		seen[id] = true
		l := Listed{ID: id, Active: st.Active.ID == id, Before: was(id)}
		if p, err := s.Get(id); err != nil {
			l.Problem = Plain(err.Error())
		} else {
			l.Created, l.Signer, l.Digest, l.Bytes = p.Created, p.Signer, hex.EncodeToString(p.Digest[:]), len(p.raw)
		}
		out = append(out, l)
	}
	if id := st.Active.ID; id != Builtin && !seen[id] {
		out = append(out, Listed{ID: id, Active: true, Problem: "it is not there"})
	}
	slices.SortFunc(out[1:], func(a, b Listed) int {
		an, av, _ := strings.Cut(a.ID, "@")
		bn, bv, _ := strings.Cut(b.ID, "@")
		if an != bn {
			return strings.Compare(an, bn)
		}
		return Compare(av, bv)
	})
	return out, nil
}
