package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect"
	"sallyport.dev/sallyport/internal/inspect/allow"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/shadow"
	"sallyport.dev/sallyport/internal/proxy"
)

// reader is the second layer as the fourth sees it.
type reader interface {
	gate.Stage
	proxy.Inspector
}

// shadowDir is where the journals of shadow packs are.
func shadowDir(cfg *config.Config) string { return filepath.Join(cfg.DataDir, "shadow") }

// shadow puts a candidate beside the active inspector, where the configuration names one. A candidate
// that cannot be loaded stops nothing: it decides nothing.
func (s *Server) shadow(ctx context.Context, cfg *config.Config, g *graph, active *inspect.Inspector, allowed *allow.List) reader {
	id := cfg.Inspect.Packs.Shadow
	if id == "" {
		return active
	}
	var err error
	if old := s.graph.Load(); old != nil && old.journal != nil && old.pack == g.pack && old.shadowed == id {
		g.journal = old.journal
	} else if g.journal, err = shadow.OpenJournal(shadowDir(cfg), s.log, g.pack, id); err != nil {
		s.log.Error("shadow: no journal, so nothing is compared", "error", err)
		return active
	}
	g.shadowed = id
	candidate, err := s.candidate(cfg, g, id, allowed)
	if err != nil {
		s.log.Error("shadow: the candidate cannot be loaded; nothing is compared", "pack", id, "error", err)
		g.journal.Problem(err.Error())
		return active
	}
	live := shadow.New(shadow.Options{Active: active, Candidate: candidate, Journal: g.journal, Key: s.state.content, Dialects: dialects()})
	g.ran.Go(func() { live.Run(ctx) })
	s.log.Info("shadow: a candidate reads beside the active pack", "active", g.pack, "candidate", id)
	return live
}

// candidate reads as the active inspector would with another pack, and stops nothing.
func (s *Server) candidate(cfg *config.Config, g *graph, id string, allowed *allow.List) (*inspect.Inspector, error) {
	store, err := Packs(cfg)
	if err != nil {
		return nil, err
	}
	store.Known = s.known
	p, det, err := store.Load(id)
	if err != nil {
		return nil, err
	}
	c, err := withRules(cfg, p, det)
	if err != nil {
		return nil, err
	}
	if p != nil {
		if g.loaded == nil {
			g.loaded = map[[32]byte]detect.Detector{}
		}
		g.loaded[p.Digest] = c.own
	}
	watching := *cfg
	watching.Inspect.Mode = config.ModeMonitor
	return newInspector(&watching, c.det, allowed)
}

// ShadowReport is what the shadow of a configuration has seen, and its newest changes, at most n. It
// reads what a running gateway writes every few seconds.
func ShadowReport(cfg *config.Config, n int) (r shadow.Report, changes []shadow.Change, err error) {
	dirs, err := filepath.Glob(filepath.Join(shadowDir(cfg), "*"))
	if err != nil {
		return r, nil, err
	}
	newest := ""
	for _, d := range dirs {
		x, err := shadow.ReadReport(d)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return r, nil, fmt.Errorf("read report of shadow: %w", err)
		}
		if newest == "" || x.Updated.After(r.Updated) {
			newest, r = d, x
		}
	}
	if newest == "" {
		return r, nil, errors.New("no shadow has run: name a pack in inspect.packs.shadow")
	}
	changes, err = shadow.ReadChanges(newest, n)
	return r, changes, err
}
