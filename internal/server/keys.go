package server

import (
	"context"
	"fmt"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/store/sqlite"
)

// Keys opens the key store of a configuration for administration. A running gateway sees a change
// within two seconds. The returned function closes the store.
func Keys(ctx context.Context, cfg *config.Config) (*iam.Service, func(), error) {
	st, err := openState(cfg)
	if err != nil {
		return nil, nil, err
	}
	pepper, err := st.pepperFor(cfg)
	if err != nil {
		return nil, nil, err
	}
	db, err := sqlite.Open(ctx, cfg.DataDir)
	if err != nil {
		return nil, nil, fmt.Errorf("open key store: %w", err)
	}
	svc, err := iam.NewService(db.Keys(), pepper, nil)
	if err != nil {
		_ = db.Close()
		return nil, nil, err
	}
	return svc, func() { _ = db.Close() }, nil
}
