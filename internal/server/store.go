package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/iam/roster"
	"sallyport.dev/sallyport/internal/store/postgres"
	"sallyport.dev/sallyport/internal/store/sqlite"
)

// store is where everything is kept that outlives a process, besides the record.
type store struct {
	keys  iam.KeyStore
	docs  document.Store
	close func() error
}

// openStore opens the database of a configuration and makes what must be in it.
func openStore(ctx context.Context, cfg *config.Config) (*store, error) {
	s, err := openDatabase(ctx, cfg)
	if err != nil {
		return nil, err
	}
	t := directory.Tenant{ID: directory.DefaultTenant, Name: "Default", Created: time.Now().UTC().Truncate(time.Microsecond)}
	if _, err := document.Insert(ctx, s.docs, t); err != nil && !errors.Is(err, document.ErrExists) {
		return nil, errors.Join(fmt.Errorf("make default tenant: %w", err), s.close())
	}
	return s, nil
}

func openDatabase(ctx context.Context, cfg *config.Config) (*store, error) {
	if cfg.IAM.Database == nil {
		db, err := sqlite.Open(ctx, cfg.DataDir)
		if err != nil {
			return nil, fmt.Errorf("open database: %w", err)
		}
		return &store{db.Keys(), db.Documents(), db.Close}, nil
	}
	dsn, err := cfg.IAM.Database.Resolve()
	if err != nil {
		return nil, fmt.Errorf("resolve iam.database: %w", err)
	}
	db, err := postgres.Open(ctx, dsn)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return &store{db.Keys(), db.Documents(), db.Close}, nil
}

// people is the directory in memory. One serves every graph: it does not depend on the configuration.
type people struct {
	mirror *mirror.Mirror
	roster *roster.Roster
}

func newPeople(ctx context.Context, s *store, log *slog.Logger) (*people, error) {
	m := mirror.New(s.docs, nil, func(err error) {
		if err != nil {
			log.Error("the directory does not answer", "error", err)
		} else {
			log.Info("the directory answers again")
		}
	})
	p := &people{mirror: m, roster: roster.New(m)}
	if err := m.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("read directory: %w", err)
	}
	return p, nil
}
