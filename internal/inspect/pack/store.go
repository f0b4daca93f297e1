package pack

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"sallyport.dev/sallyport/internal/durable"
	"sallyport.dev/sallyport/internal/inspect/detect"
)

// Store is a directory of installed packs. Each is a file name@version.pack; which one is active is
// said by state.json alone, which is replaced as a whole: a reader, now or after a crash at any
// point, sees the old active pack or the new one. Any number of processes may read; writers take a
// lock.
type Store struct {
	Dir       string
	Trust     *Trust
	Construct Construct
	Release   string // this build of sallyport
	Now       func() time.Time
	// Known, when set, returns the detector of a pack that this process has loaded and tried before,
	// by its digest, nil where there is none. It spares time and memory; the signature is checked anew.
	Known func(digest [32]byte) detect.Detector

	// step is called before each change of the disk; tests crash there.
	step func(what string) error
}

// Change is what a command did.
type Change struct {
	Before string `json:"before"` // id of the pack that was active
	Active string `json:"active"`
	Stored string `json:"stored,omitempty"` // id of a pack that was written
}

// File is where a pack is installed.
func (s *Store) File(id string) string { return filepath.Join(s.Dir, id+".pack") }

// State says which pack is active.
func (s *Store) State() (*State, error) { return readState(s.Dir) }

// Get reads an installed pack and verifies it.
func (s *Store) Get(id string) (*Pack, error) {
	if !ValidID(id) {
		return nil, errors.New("want the id of a pack: name@version")
	}
	st, err := os.Lstat(s.File(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("pack %s: %w", id, ErrUnknown)
	}
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", id, err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("pack %s: %w: not a plain file", id, ErrDamaged)
	}
	raw, err := readFile(s.File(id))
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", id, err)
	}
	p, err := Open(raw, s.Trust)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", id, err)
	}
	if p.ID() != id {
		return nil, fmt.Errorf("pack %s: %w: the file holds %s", id, ErrDamaged, p.ID())
	}
	return p, nil
}

// Active reads the active pack and makes its detector. The pack is nil when the built-in one is
// active. There is no falling back here: what to do when the active pack cannot be loaded is the
// caller's decision.
func (s *Store) Active() (*Pack, detect.Detector, error) {
	st, err := s.State()
	if err != nil {
		return nil, nil, err
	}
	return s.load(st.Active)
}

// Load makes the detector of an installed pack, or of the built-in one.
func (s *Store) Load(id string) (*Pack, detect.Detector, error) { return s.load(Entry{ID: id}) }

func (s *Store) load(e Entry) (*Pack, detect.Detector, error) {
	if e.ID == Builtin {
		d, err := s.Construct(nil)
		return nil, d, err
	}
	p, err := s.Get(e.ID)
	if err != nil {
		return nil, nil, err
	}
	if e.Digest != "" && e.Digest != hex.EncodeToString(p.Digest[:]) {
		return nil, nil, fmt.Errorf("pack %s: %w: it is not the file that was made active", e.ID, ErrDamaged)
	}
	if s.Known != nil {
		if d := s.Known(p.Digest); d != nil {
			return p, d, nil
		}
	}
	d, err := Load(p, s.Construct, s.Release)
	if err != nil {
		return nil, nil, fmt.Errorf("pack %s: %w", e.ID, err)
	}
	return p, d, nil
}

// Install tries a verified pack, stores it and, unless it is only to be kept, makes it active. A
// version older than what was active is refused: going back is Rollback. A version that is stored
// already must have the same bytes.
func (s *Store) Install(p *Pack, activate bool) (c Change, err error) {
	if _, err := Load(p, s.Construct, s.Release); err != nil {
		return c, fmt.Errorf("pack %s: %w", p.ID(), err)
	}
	err = s.locked(func() error {
		st, err := s.State()
		if err != nil {
			return err
		}
		c = Change{Before: st.Active.ID, Active: st.Active.ID}
		if err := s.put(p, st, &c); err != nil || !activate {
			return err
		}
		return s.activate(p, st, &c)
	})
	return c, err
}

// put writes a pack, unless it is there.
func (s *Store) put(p *Pack, st *State, c *Change) error {
	digest := hex.EncodeToString(p.Digest[:])
	for _, e := range append([]Entry{st.Active}, st.History...) {
		if e.ID == p.ID() && e.Digest != digest {
			return fmt.Errorf("pack %s: another pack of this name and version was active; a version never changes its contents", p.ID())
		}
	}
	old, err := s.Get(p.ID())
	switch {
	case err == nil && old.Digest == p.Digest:
		return nil
	case err == nil:
		return fmt.Errorf("pack %s: another pack of this name and version is installed; a version never changes its contents", p.ID())
	}
	// None, or one that is damaged or no longer trusted: the whole one takes its place.
	c.Stored = p.ID()
	return s.do("store pack", func() error { return durable.WriteFile(s.File(p.ID()), p.raw, 0o600) })
}

func (s *Store) activate(p *Pack, st *State, c *Change) error {
	if st.Active.ID == p.ID() {
		return nil
	}
	if f := st.floor(p.Name); f != "" && Compare(p.Version, f) < 0 {
		return fmt.Errorf("pack %s: %w: %s; to go back on purpose use `sallyport pack rollback`", p.ID(), ErrOlder, f)
	}
	st.History = append(st.History, st.Active)
	st.History = st.History[max(0, len(st.History)-maxHistory):]
	st.Active = Entry{ID: p.ID(), Digest: hex.EncodeToString(p.Digest[:])}
	return s.write(st, c)
}

func (s *Store) write(st *State, c *Change) error {
	st.Format, st.Serial, st.Active.Since = 1, st.Serial+1, s.now()
	if st.History == nil {
		st.History = []Entry{}
	}
	if err := s.do("switch", func() error { return st.write(s.Dir) }); err != nil {
		return err
	}
	c.Active = st.Active.ID
	return nil
}

// Activate makes a stored pack active, under the rules of Install.
func (s *Store) Activate(id string) (Change, error) {
	p, err := s.Get(id)
	if err != nil {
		return Change{}, err
	}
	return s.Install(p, true)
}

// Rollback makes the pack active again that was active before, or with to the one named, which must
// have been active before. The pack must still load. To the built-in pack it is always possible,
// also when the state is damaged.
func (s *Store) Rollback(to string) (c Change, err error) {
	err = s.locked(func() error {
		st, err := s.State()
		if errors.Is(err, ErrState) && to == Builtin {
			if err := s.do("keep damaged state", func() error { return os.Rename(StateFile(s.Dir), StateFile(s.Dir)+".damaged") }); err != nil {
				return err
			}
			c.Before = "damaged"
			return s.write(&State{Active: Entry{ID: Builtin}}, &c)
		}
		if err != nil {
			return fmt.Errorf("%w; `sallyport pack rollback --to %s` starts anew", err, Builtin)
		}
		c = Change{Before: st.Active.ID, Active: st.Active.ID}
		at := len(st.History) - 1
		if to != "" {
			for at >= 0 && st.History[at].ID != to {
				at--
			}
		}
		target := Entry{ID: Builtin}
		switch {
		case to == Builtin && st.Active.ID == Builtin, at < 0 && to == "":
			return fmt.Errorf("no pack was active before %s", st.Active.ID)
		case at < 0 && to != Builtin:
			return fmt.Errorf("pack %s was not active before; `sallyport pack list` names those that were", Plain(to))
		case at >= 0:
			target = st.History[at]
		}
		if _, _, err := s.load(target); err != nil {
			return fmt.Errorf("cannot go back: %w; `--to` names another one, %s always works", err, Builtin)
		}
		st.Active, st.History = target, st.History[:max(at, 0)]
		return s.write(st, &c)
	})
	return c, err
}

func (s *Store) locked(f func() error) error {
	if err := s.do("make directory", func() error { return durable.MkdirAll(s.Dir, 0o700) }); err != nil {
		return fmt.Errorf("make directory of packs: %w", err)
	}
	l, err := durable.Lock(filepath.Join(s.Dir, "lock"))
	if err != nil {
		return fmt.Errorf("packs: %w", err)
	}
	defer l.Close()
	s.sweep()
	return f()
}

// sweep removes what a command that was cut off left behind. Only the holder of the lock writes, so
// nobody needs it.
func (s *Store) sweep() {
	old, _ := filepath.Glob(filepath.Join(s.Dir, ".*.tmp"))
	for _, p := range old {
		_ = os.Remove(p)
	}
}

func (s *Store) do(what string, f func() error) error {
	if s.step != nil {
		if err := s.step(what); err != nil {
			return err
		}
	}
	return f()
}

func (s *Store) now() time.Time {
	if s.Now != nil {
		return s.Now().UTC()
	}
	return time.Now().UTC()
}
