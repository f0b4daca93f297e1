package server

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/secret"
)

// followEvery is how often the data directory is looked at for another active pack or allow-list.
const followEvery = 300 * time.Millisecond

// follow reloads when the configuration file changes, when another pack is made active or the allow-list
// changes, and when the file of prices does. The latter are looked for by name, not watched: a file that is replaced cannot be
// missed so, on any file system.
func (s *Server) follow(ctx context.Context) {
	go func() {
		t := time.NewTicker(followEvery)
		defer t.Stop()
		var tried marks
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			s.mu.Lock()
			now := s.marks(s.cfg)
			s.mu.Unlock()
			if now.same(s.graph.Load().marks) || now.same(tried) {
				continue
			}
			tried = now
			_ = s.Refresh(ctx) // says in the log what happened
		}
	}()
	go s.followPrices(ctx)
	if s.path == "" {
		return
	}
	go func() {
		err := config.WatchFile(ctx, s.path, func() { _ = s.Reload(ctx) })
		if err != nil && ctx.Err() == nil {
			s.log.Warn("cannot watch the configuration file; reload with SIGHUP", "error", err)
		}
	}()
}

// Reload reads the configuration again and replaces the whole graph, or nothing: a call in flight
// ends under the configuration it began with, and an invalid file changes nothing but the record.
func (s *Server) Reload(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	cfg, err := config.Load(s.path)
	var p *prices
	if err == nil {
		p, err = readPrices(cfg.IAM.Prices)
	}
	if err == nil {
		err = s.replace(cfg)
	}
	s.reloaded(ctx, "config_reload", "configuration", err)
	if err == nil {
		s.setPrices(ctx, p)
	}
	return err
}

// Refresh builds the graph anew from the configuration in effect, with the pack that is active now and
// the allow-list as it is now, or changes nothing. No call is dropped: one in flight ends under the
// graph it began with.
func (s *Server) Refresh(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.replace(s.cfg)
	s.reloaded(ctx, "pack_reload", "pack and allow-list", err)
	return err
}

// reloaded says in the log and in the record what a reload came to.
func (s *Server) reloaded(ctx context.Context, event, what string, err error) {
	g := s.graph.Load()
	note := map[string]string{"policy": g.policy, "pack": g.pack}
	if err != nil {
		event, note["error"] = event+"_refused", err.Error()
		s.log.Error(what+" not reloaded; the old one stays", "pack", g.pack, "error", err)
	} else {
		s.log.Info(what+" reloaded", "policy", g.policy, "pack", g.pack)
	}
	if nerr := s.audit.Note(ctx, event, note); nerr != nil {
		s.log.Error("cannot record reload", "error", nerr)
	}
}

func (s *Server) replace(cfg *config.Config) error {
	// Even an unchanged file is built anew: rule files, certificates and secrets that it names may
	// have changed.
	switch {
	case cfg.DataDir != s.cfg.DataDir:
		return fmt.Errorf("data_dir cannot change while running; restart to move it")
	case cfg.Listen.Address != s.cfg.Listen.Address:
		return fmt.Errorf("listen.address cannot change while running; restart to move it")
	case !sameRef(cfg.IAM.Database, s.cfg.IAM.Database):
		return fmt.Errorf("iam.database cannot change while running; restart to move it")
	case !reflect.DeepEqual(cfg.IAM.SPIFFE, s.cfg.IAM.SPIFFE):
		return fmt.Errorf("iam.spiffe cannot change while running; restart to change it")
	case !sameRef(cfg.IAM.Redis, s.cfg.IAM.Redis) || cfg.IAM.Nodes != s.cfg.IAM.Nodes:
		return fmt.Errorf("iam.redis and iam.nodes cannot change while running; restart to change them")
	case cfg.IAM.Offline != s.cfg.IAM.Offline:
		return fmt.Errorf("iam.offline cannot change while running; restart to change it")
	case !slices.Equal(cfg.IAM.AddressPools, s.cfg.IAM.AddressPools):
		return fmt.Errorf("iam.address_pools cannot change while running; restart to change it")
	case cfg.Console.Address != s.cfg.Console.Address:
		return fmt.Errorf("console.address cannot change while running; restart to move it")
	case PackDir(cfg) != PackDir(s.cfg):
		return fmt.Errorf("inspect.packs.directory cannot change while running; restart to move it")
	case cfg.Audit.Mode != s.cfg.Audit.Mode || cfg.Audit.SegmentBytes != s.cfg.Audit.SegmentBytes || cfg.Audit.Checkpoint != s.cfg.Audit.Checkpoint:
		return fmt.Errorf("audit.mode, audit.segment_bytes and audit.checkpoint cannot change while running; restart to change them")
	}
	if err := s.people.setMasterKeys(cfg, s.store); err != nil {
		return err
	}
	g, err := s.build(cfg)
	if err != nil {
		return errors.Join(err, s.people.setMasterKeys(s.cfg, s.store))
	}
	old := s.graph.Swap(g)
	s.cfg = cfg
	setLevel(s.level, cfg)
	old.close(g)
	return nil
}

func sameRef(a, b *secret.Ref) bool { return a == b || a != nil && b != nil && *a == *b }
