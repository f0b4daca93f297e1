package server

import (
	"context"
	"fmt"
	"io"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect"
	"sallyport.dev/sallyport/internal/inspect/pack"
	"sallyport.dev/sallyport/internal/inspect/policy"
	"sallyport.dev/sallyport/internal/inspect/shadow"
)

// Diff is what a comparison of two packs needs.
type Diff struct {
	// Candidate is a file, a directory, the id of an installed pack, or builtin.
	Candidate string
	// Against is the same for the other side; empty: the active pack.
	Against string
	Channel string // of rows that name none
}

// DiffResult is what a comparison came to.
type DiffResult struct {
	Active    string `json:"active"`
	Candidate string `json:"candidate"`
	shadow.Summary
}

// DiffRows compares two packs on rows of text, in the form of `sallyport scan`, and tells every verdict
// that differs.
func DiffRows(ctx context.Context, cfg *config.Config, d Diff, in io.Reader, each func(shadow.Change) error) (DiffResult, error) {
	active, candidate, r, err := d.sides(ctx, cfg)
	if err != nil {
		return r, err
	}
	ch, ok := gate.ParseChannel(d.Channel)
	if !ok {
		return r, fmt.Errorf("unknown channel %q: want one of %v", d.Channel, gate.Channels())
	}
	pol, err := policy.New(policyOptions(cfg))
	if err != nil {
		return r, fmt.Errorf("read inspect.policy: %w", err)
	}
	r.Summary, err = shadow.Rows(ctx, in, shadow.RowOptions{Active: active.det, Candidate: candidate.det, Policy: pol, Channel: ch}, each)
	return r, err
}

// DiffRecorded compares two packs on an export of the record, as far as its content was kept.
func DiffRecorded(ctx context.Context, cfg *config.Config, d Diff, in io.Reader, each func(shadow.Change) error) (DiffResult, error) {
	active, candidate, r, err := d.sides(ctx, cfg)
	if err != nil {
		return r, err
	}
	st, err := openState(cfg)
	if err != nil {
		return r, err
	}
	allowed, err := st.allowBook().List()
	if err != nil {
		return r, err
	}
	watching := *cfg
	watching.Inspect.Mode = config.ModeMonitor
	var ins [2]*inspect.Inspector
	for i, c := range []chosen{active, candidate} {
		if ins[i], err = newInspector(&watching, c.det, allowed); err != nil {
			return r, err
		}
	}
	r.Summary, err = shadow.Recorded(ctx, in, shadow.RecordOptions{Active: ins[0], Candidate: ins[1], Dialects: dialects()}, each)
	return r, err
}

func (d Diff) sides(ctx context.Context, cfg *config.Config) (active, candidate chosen, r DiffResult, err error) {
	if d.Against == "" {
		active, err = newDetector(cfg)
	} else {
		active, err = named(ctx, cfg, d.Against)
	}
	if err == nil {
		candidate, err = named(ctx, cfg, d.Candidate)
	}
	return active, candidate, DiffResult{Active: active.pack, Candidate: candidate.pack}, err
}

// named makes the detector of a pack that is named by its id or by where it is.
func named(ctx context.Context, cfg *config.Config, name string) (chosen, error) {
	store, err := Packs(cfg)
	if err != nil {
		return chosen{}, err
	}
	if name == pack.Builtin || pack.ValidID(name) {
		p, det, err := store.Load(name)
		if err != nil {
			return chosen{}, fmt.Errorf("load pack: %w", err)
		}
		return withRules(cfg, p, det)
	}
	p, err := ReadPack(ctx, cfg, name)
	if err != nil {
		return chosen{}, err
	}
	det, err := pack.Load(p, alone, Version())
	if err != nil {
		return chosen{}, fmt.Errorf("load pack %s: %w", p.ID(), err)
	}
	return withRules(cfg, p, det)
}
