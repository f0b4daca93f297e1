package server

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/recall"
)

// openRecall opens the book of keys that ended without the database; nil where callers have no keys.
func (s *Server) openRecall(cfg *config.Config) (*recall.Book, error) {
	if cfg.IAM.Mode != config.IAMKeys {
		return nil, nil
	}
	pepper, err := s.state.pepperFor(cfg)
	if err != nil {
		return nil, err
	}
	keys, err := iam.NewService(s.store.keys, pepper, nil)
	if err != nil {
		return nil, err
	}
	o := recall.Options{
		File: filepath.Join(cfg.DataDir, "recalled.json"), Pepper: pepper,
		Revoke: func(ctx context.Context, id string) error {
			_, err := keys.Revoke(ctx, id)
			if errors.Is(err, iam.ErrNotFound) {
				return nil
			}
			return err
		},
		Ended: func(id string) bool {
			g := s.graph.Load()
			return g != nil && g.who.Ended(id)
		},
		Fault: func(err error) {
			if err != nil {
				s.log.Error("Redis does not answer; revocations reach other gateways through the database only", "error", err)
			} else {
				s.log.Info("Redis answers again; revocations reach other gateways through it too")
			}
		},
	}
	if s.shared != nil {
		o.Board = s.shared.Board()
	}
	b, err := recall.New(o)
	if err != nil {
		return nil, fmt.Errorf("open recalled keys: %w", err)
	}
	return b, nil
}

// recaller is what administration does with keys while the database is away.
type recaller struct {
	book *recall.Book
	who  func() *iam.IAM
}

// Known finds a key in memory.
func (r recaller) Known(id string) (iam.Key, bool) {
	if m := r.who(); m != nil {
		return m.Known(id)
	}
	return iam.Key{}, false
}

// KnownMatching finds living keys in memory.
func (r recaller) KnownMatching(f iam.Filter) []iam.Key {
	if m := r.who(); m != nil {
		return m.KnownMatching(f)
	}
	return nil
}

// Recall ends keys on this gateway, and on the others where everywhere is true.
func (r recaller) Recall(ctx context.Context, ids ...string) (everywhere bool, err error) {
	return r.book.Recall(ctx, ids...)
}

// Tell is for gateways that the database does not answer.
func (r recaller) Tell(ctx context.Context, ids ...string) { _ = r.book.Tell(ctx, ids...) }
