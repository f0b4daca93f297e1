package server

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/inspect/allow"
	"sallyport.dev/sallyport/internal/inspect/classify"
	"sallyport.dev/sallyport/internal/inspect/classify/builtin"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/pack"
	"sallyport.dev/sallyport/internal/inspect/rules"
)

// PackDir is where a configuration keeps installed packs.
func PackDir(cfg *config.Config) string {
	if d := cfg.Inspect.Packs.Directory; d != "" {
		return d
	}
	return filepath.Join(cfg.DataDir, "packs")
}

// Packs is the store of installed packs of a configuration. A running gateway sees a change within
// a second.
func Packs(cfg *config.Config) (*pack.Store, error) {
	trust, err := pack.NewTrust(cfg.Inspect.Packs.TrustedKeys)
	if err != nil {
		return nil, fmt.Errorf("read inspect.packs.trusted_keys: %w", err)
	}
	return &pack.Store{Dir: PackDir(cfg), Trust: trust, Construct: alone, Release: Version()}, nil
}

// alone is the detector of a pack as it was signed, without what the configuration adds: it is what
// the pack's examples are tried on.
func alone(p *pack.Pack) (detect.Detector, error) {
	return construct(p, config.Inspect{FPRBudget: classify.DefaultBudget, Learned: true})
}

// construct makes the detector of a pack, nil for the built-in one, with what the configuration adds
// to it and takes from it. It is the one place that knows what a pack's files mean: weights of its
// own take the place of the built-in ones, thresholds alone judge the built-in weights, and a pack
// whose rules stand alone and that brings no weights has no learned tiers.
func construct(p *pack.Pack, in config.Inspect) (detect.Detector, error) {
	e, err := engine(p, in.Rules)
	if err != nil || !in.Learned {
		return e, err
	}
	var o classify.Options
	digest := builtin.Digest()
	switch {
	case p == nil:
		o, err = builtin.Options()
	case p.Files.Raw(classify.LexicalFile) != nil:
		digest = p.Digest
		o, err = classify.Open(p.Files, false)
	case p.Extends:
		o, err = builtin.Options()
		if b := p.Files.Raw(classify.StackFile); b != nil && err == nil {
			digest = p.Digest
			o.Stack, err = classify.LoadStack(b)
		}
	default:
		return e, nil
	}
	if err != nil {
		return nil, err
	}
	o.Rules, o.Budget, o.Strict = e, in.FPRBudget, in.Mode == config.ModeEnforceStrict
	o.Version = fmt.Sprintf("%s/%x/%v", e.Version(), digest, in.FPRBudget)
	return classify.New(o, runtime.GOMAXPROCS(0)), nil
}

// engine makes the rules tier.
func engine(p *pack.Pack, r config.Rules) (*rules.Engine, error) {
	if p == nil && len(r.Files)+len(r.Gitleaks)+len(r.Disable) == 0 {
		return rules.Default() // loaded and checked once
	}
	o := rules.Options{Files: append(append([]string(nil), r.Files...), r.Gitleaks...), Without: r.Disable}
	if p != nil {
		o.FS, o.Bare, o.Salt = p.Files, !p.Extends, hex.EncodeToString(p.Digest[:])
	}
	return rules.Load(o)
}

// chosen is the detector that decides, and the pack it is made from.
type chosen struct {
	det    detect.Detector
	pack   string          // id
	own    detect.Detector // of the pack alone
	digest [32]byte        // of the pack
	// problem says why the built-in pack stands in for the active one; empty: it does not.
	problem string
}

// newDetector makes the detector of the active pack.
func newDetector(cfg *config.Config) (chosen, error) { return activeDetector(cfg, nil) }

// activeDetector is newDetector with pack.Store's Known, which may be nil.
func activeDetector(cfg *config.Config, known func([32]byte) detect.Detector) (chosen, error) {
	store, err := Packs(cfg)
	if err != nil {
		return chosen{}, err
	}
	store.Known = known
	p, det, err := store.Active()
	if err != nil {
		if errors.Is(err, pack.ErrState) {
			return chosen{}, fmt.Errorf("load active pack: %w; `sallyport pack rollback --to %s` goes back to the built-in one", err, pack.Builtin)
		}
		return chosen{}, fmt.Errorf("load active pack: %w; `sallyport pack rollback` goes back to the one before it", err)
	}
	return withRules(cfg, p, det)
}

// withRules adds what the configuration says to a pack's own detector.
func withRules(cfg *config.Config, p *pack.Pack, det detect.Detector) (c chosen, err error) {
	c = chosen{det: det, own: det, pack: pack.Builtin}
	if p != nil {
		c.pack, c.digest = p.ID(), p.Digest
	}
	r := cfg.Inspect.Rules
	i := cfg.Inspect
	if len(r.Files)+len(r.Gitleaks)+len(r.Disable) > 0 || i.FPRBudget != classify.DefaultBudget || !i.Learned || i.Mode == config.ModeEnforceStrict {
		if c.det, err = construct(p, cfg.Inspect); err != nil {
			return c, fmt.Errorf("load rules: %w", err)
		}
	}
	return c, nil
}

// detector is newDetector for a running gateway. At start, where the configuration says so, a pack
// that cannot be loaded makes way for the built-in one; on a reload it never does, so the old graph
// stays.
func (s *Server) detector(cfg *config.Config) (chosen, error) {
	c, err := activeDetector(cfg, s.known)
	if err == nil || s.graph.Load() != nil || cfg.Inspect.Packs.OnInvalid != config.PackBuiltin {
		return c, err
	}
	det, berr := alone(nil)
	if berr != nil {
		return c, errors.Join(err, berr)
	}
	b, berr := withRules(cfg, nil, det)
	if berr != nil {
		return c, errors.Join(err, berr)
	}
	s.log.Error("the active pack cannot be loaded; the built-in one decides (inspect.packs.on_invalid)", "error", err)
	b.problem = err.Error()
	return b, nil
}

// known is the detector that the graph in effect has of a pack.
func (s *Server) known(digest [32]byte) detect.Detector {
	if g := s.graph.Load(); g != nil {
		return g.loaded[digest]
	}
	return nil
}

// AllowBook is the stored allow-list of a configuration.
func AllowBook(cfg *config.Config) (*allow.Book, error) {
	st, err := openState(cfg)
	if err != nil {
		return nil, err
	}
	return st.allowBook(), nil
}

func (s *state) allowBook() *allow.Book {
	return &allow.Book{Dir: filepath.Join(s.dir, "allow"), Key: allow.NewKey(s.content)}
}

// marks says which files of the data directory a graph was built from, so that a change is noticed.
type marks [2]os.FileInfo

func (s *Server) marks(cfg *config.Config) (m marks) {
	for i, p := range []string{pack.StateFile(PackDir(cfg)), s.state.allowBook().File()} {
		if st, err := os.Stat(p); err == nil {
			m[i] = st
		}
	}
	return m
}

// same says whether nothing changed.
func (m marks) same(o marks) bool {
	for i := range m {
		if !unchanged(m[i], o[i]) {
			return false
		}
	}
	return true
}
