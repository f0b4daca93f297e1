package server

import (
	"context"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/iam"
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
	db, err := openStore(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	svc, err := iam.NewService(db.keys, pepper, nil)
	if err != nil {
		_ = db.close()
		return nil, nil, err
	}
	return svc, func() { _ = db.close() }, nil
}
