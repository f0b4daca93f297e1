package server

import (
	"context"
	"fmt"

	"sallyport.dev/sallyport/internal/config"
)

// follow reloads when the configuration file changes.
func (s *Server) follow(ctx context.Context) {
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
	if err == nil {
		err = s.replace(cfg)
	}
	note := map[string]string{"policy": s.graph.Load().policy}
	event := "config_reload"
	if err != nil {
		event, note["error"] = "config_reload_refused", err.Error()
		s.log.Error("configuration not reloaded; the old one stays", "error", err)
	} else {
		s.log.Info("configuration reloaded", "policy", note["policy"])
	}
	if nerr := s.audit.Note(ctx, event, note); nerr != nil {
		s.log.Error("cannot record reload", "error", nerr)
	}
	return err
}

func (s *Server) replace(cfg *config.Config) error {
	// Even an unchanged file is built anew: rule files, certificates and secrets that it names may
	// have changed.
	switch {
	case cfg.DataDir != s.cfg.DataDir:
		return fmt.Errorf("data_dir cannot change while running; restart to move it")
	case cfg.Listen.Address != s.cfg.Listen.Address:
		return fmt.Errorf("listen.address cannot change while running; restart to move it")
	case cfg.Audit.Mode != s.cfg.Audit.Mode || cfg.Audit.SegmentBytes != s.cfg.Audit.SegmentBytes || cfg.Audit.Checkpoint != s.cfg.Audit.Checkpoint:
		return fmt.Errorf("audit.mode, audit.segment_bytes and audit.checkpoint cannot change while running; restart to change them")
	}
	g, err := s.build(cfg)
	if err != nil {
		return err
	}
	old := s.graph.Swap(g)
	s.cfg = cfg
	setLevel(s.level, cfg)
	old.close(g)
	return nil
}
