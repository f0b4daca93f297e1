package sso

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"sallyport.dev/sallyport/internal/iam/document"
)

// used is something that was used and works no second time.
type used struct {
	ID    string    `json:"id"`
	Until time.Time `json:"until"`
}

func (u used) Head() document.Head { return document.Head{Kind: KindOnce, ID: u.ID} }

// Once is federation.Once over a store: of two nodes one is the first.
type Once struct{ Docs document.Store }

// First implements federation.Once.
func (o Once) First(ctx context.Context, id string, until time.Time) (bool, error) {
	sum := sha256.Sum256([]byte(id))
	_, err := document.Insert(ctx, o.Docs, used{ID: "once_" + hex.EncodeToString(sum[:16]), Until: until})
	if errors.Is(err, document.ErrExists) {
		return false, nil
	}
	return err == nil, err
}

// Sweep takes away what could no longer be used anyway, and says how many. Call it every few minutes.
func (o Once) Sweep(ctx context.Context, now time.Time) (int, error) {
	return document.Sweep(ctx, o.Docs, nil, func(u *used) bool { return !now.Before(u.Until) })
}
