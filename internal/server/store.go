package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/access"
	"sallyport.dev/sallyport/internal/iam/datakeys"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/jwtbearer"
	"sallyport.dev/sallyport/internal/iam/limits"
	"sallyport.dev/sallyport/internal/iam/mirror"
	"sallyport.dev/sallyport/internal/iam/policies"
	"sallyport.dev/sallyport/internal/iam/quota"
	"sallyport.dev/sallyport/internal/iam/revocation"
	"sallyport.dev/sallyport/internal/iam/roster"
	"sallyport.dev/sallyport/internal/iam/signing"
	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/iam/vault"
	"sallyport.dev/sallyport/internal/secret/envelope"
	"sallyport.dev/sallyport/internal/store/postgres"
	"sallyport.dev/sallyport/internal/store/redis"
	"sallyport.dev/sallyport/internal/store/relational"
	"sallyport.dev/sallyport/internal/store/sqlite"
)

// store is where everything is kept that outlives a process, besides the record.
type store struct {
	keys  iam.KeyStore
	docs  document.Store
	tries throttle.Store
	all   *relational.DB // for backups
	close func() error
}

// purge takes away what was deleted long ago. A tenant's id is chosen by people, and a data key's is made of it:
// a tenant that is made anew under an old one's id would be given what that one left.
func (s *store) purge(ctx context.Context) (int, error) {
	p, ok := s.docs.(document.Purger)
	if !ok {
		return 0, nil
	}
	return p.Purge(ctx, document.KeepDeleted, []string{directory.KindTenant, datakeys.Kind})
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
		return &store{db.Keys(), db.Documents(), db.Tries(), db.DB, db.Close}, nil
	}
	dsn, err := cfg.IAM.Database.Resolve()
	if err != nil {
		return nil, fmt.Errorf("resolve iam.database: %w", err)
	}
	db, err := postgres.Open(ctx, dsn)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return &store{db.Keys(), db.Documents(), db.Tries(), db.DB, db.Close}, nil
}

// people is the directory in memory. One serves every graph: it does not depend on the configuration.
type people struct {
	keks   string // ids of the master keys last set; held by the lock of reloads
	mirror *mirror.Mirror
	roster *roster.Roster
	access *access.Access
	seals  *envelope.Keyring
	vault  *vault.Vault
	rules  *policies.Policies
	limits *limits.Limits
	// signing are the keys of exchanged tokens. There are none unless tokens are exchanged.
	signing *signing.Keys
	// revoked are tokens that ended early, for all verifiers.
	revoked *jwtbearer.Revocations

	standing standing
}

// sealing is how often new data keys of other nodes are looked for.
const sealing = 5 * time.Second

// newPeople reads the directory. note makes an event durable, for what may only happen on the record.
func newPeople(ctx context.Context, cfg *config.Config, s *store, log *slog.Logger, note func(context.Context, string, map[string]string) error) (*people, error) {
	kek, err := masterKey(cfg)
	if err != nil {
		return nil, err
	}
	old, err := oldMasterKeys(cfg)
	if err != nil {
		return nil, err
	}
	seals, err := envelope.New(ctx, envelope.Options{Store: datakeys.Store{Docs: s.docs}, Current: kek, Old: old})
	if err != nil {
		return nil, fmt.Errorf("open sealed secrets: %w", err)
	}
	m := mirror.New(s.docs, nil, func(err error) {
		if err != nil {
			log.Error("the directory does not answer", "error", err)
		} else {
			log.Info("the directory answers again")
		}
	})
	m.Age(cfg.IAM.Offline)
	p := &people{mirror: m, roster: roster.New(m), access: access.New(m), seals: seals, revoked: &jwtbearer.Revocations{}}
	revocation.Follow(m, p.revoked)
	p.vault, err = vault.New(vault.Options{
		Store: s.docs, Sealer: seals, Mirror: m,
		Record: func(ctx context.Context, c vault.Change) error {
			return note(ctx, "provider.reveal", map[string]string{"credential": c.Before.ID, "tenant": c.Before.Tenant, "version": fmt.Sprint(c.Version), "reason": c.Reason})
		},
		Fault: func(err error) {
			if err != nil {
				log.Error("a provider credential cannot be opened; calls that need it are refused", "error", err)
			} else {
				log.Info("all provider credentials can be opened again")
			}
		},
	})
	if err != nil {
		return nil, err
	}
	p.signing, err = signing.New(signing.Options{Store: s.docs, Sealer: seals, Mirror: m, Fault: func(err error) {
		if err != nil {
			log.Error("a signing key cannot be made or opened", "error", err)
		} else {
			log.Info("all signing keys can be opened again")
		}
	}})
	if err != nil {
		return nil, err
	}
	p.limits = limits.New(m)
	p.standing.watch(m)
	p.rules = policies.New(m, p.roster, p.access, nil, func(err error) {
		log.Error("a policy cannot be read; the calls of its tenant are refused", "error", err)
	})
	if err := m.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("read directory: %w", err)
	}
	return p, nil
}

// oldMasterKeys are those that can still be read.
func oldMasterKeys(cfg *config.Config) ([]envelope.KEK, error) {
	var old []envelope.KEK
	for i, ref := range cfg.IAM.OldMasterKeys {
		k, err := envelope.LoadKEK(ref)
		if err != nil {
			return nil, fmt.Errorf("load iam.old_master_keys[%d]: %w", i, err)
		}
		old = append(old, k)
	}
	return old, nil
}

// setMasterKeys takes those of a configuration, without a restart. Where they do not open every data key
// the configuration is refused: a secret would be lost.
func (p *people) setMasterKeys(cfg *config.Config, db *store) error {
	kek, err := masterKey(cfg)
	if err != nil {
		return err
	}
	old, err := oldMasterKeys(cfg)
	if err != nil {
		return err
	}
	ids := kek.ID()
	for _, o := range old {
		ids += " " + o.ID()
	}
	if ids == p.keks { // nothing to ask the database, which may be away
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := opens(ctx, cfg, db); err != nil {
		return err
	}
	p.keks = ids
	return p.seals.SetKEKs(kek, old...)
}

// masterKey is the key that seals the keys that seal secrets.
func masterKey(cfg *config.Config) (envelope.KEK, error) {
	if cfg.IAM.MasterKey == nil {
		k, err := envelope.DefaultKEK(cfg.DataDir)
		if err != nil {
			return k, fmt.Errorf("load generated master key: %w", err)
		}
		return k, nil
	}
	k, err := envelope.LoadKEK(*cfg.IAM.MasterKey)
	if err != nil {
		return k, fmt.Errorf("load iam.master_key: %w", err)
	}
	return k, nil
}

// run keeps what is in memory fresh until ctx ends.
func (p *people) run(ctx context.Context, log *slog.Logger) {
	var wg sync.WaitGroup
	wg.Go(func() { p.mirror.Run(ctx) })
	wg.Go(func() { p.vault.Run(ctx) })
	wg.Go(func() {
		t := time.NewTicker(sealing)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				p.rules.Sweep()
				if err := p.seals.Refresh(ctx); err != nil && ctx.Err() == nil {
					log.Debug("cannot look for new data keys", "error", err)
				}
			}
		}
	})
	wg.Wait()
}

// openQuota makes the engine that keeps limits, shared through Redis where the configuration names one.
func openQuota(cfg *config.Config, log *slog.Logger) (*quota.Engine, *redis.Store, error) {
	if cfg.IAM.Redis == nil {
		e, err := quota.New(quota.Options{})
		return e, nil, err
	}
	url, err := cfg.IAM.Redis.Resolve()
	if err != nil {
		return nil, nil, fmt.Errorf("resolve iam.redis: %w", err)
	}
	r, err := redis.Open(redis.Options{URL: url})
	if err != nil {
		return nil, nil, fmt.Errorf("open iam.redis: %w", err)
	}
	e, err := quota.New(quota.Options{Shared: &quota.Shared{
		Store: r, Node: directory.NewID("node"), Nodes: cfg.IAM.Nodes,
		More: func(nodes int) {
			log.Warn("there are more gateways than iam.nodes says; a gateway that starts while Redis is away lets through too much", "iam.nodes", cfg.IAM.Nodes, "gateways", nodes)
		},
		Fault: func(err error) {
			if err != nil {
				log.Error("Redis does not answer; limits are kept locally", "error", err)
			} else {
				log.Info("Redis answers again; limits are shared")
			}
		},
	}})
	if err != nil {
		return nil, nil, errors.Join(err, r.Close())
	}
	return e, r, nil
}
