package server

import (
	"context"
	"fmt"
	"time"

	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/places"
)

// How often keys are looked at that have to be rotated, and idle places are forgotten.
const (
	dueEvery   = time.Hour
	sweepEvery = 5 * time.Minute
)

// watchKeys says in the log and in the record which keys are used from two places at once, and once a
// day which have to be rotated.
func (s *Server) watchKeys(ctx context.Context, sightings <-chan places.Sighting) {
	sweep, due := time.NewTicker(sweepEvery), time.NewTicker(dueEvery)
	defer sweep.Stop()
	defer due.Stop()
	told := map[string]time.Time{} // when, by key
	s.due(ctx, told)
	for {
		select {
		case <-ctx.Done():
			return
		case x := <-sightings:
			s.log.Warn("a key is used from two places at once", "key", x.Key, "networks", fmt.Sprint(x.From))
			s.event(ctx, "key.two_places", map[string]string{"key": x.Key, "networks": fmt.Sprint(x.From)})
		case <-sweep.C:
			s.places.Sweep()
		case <-due.C:
			s.due(ctx, told)
		}
	}
}

// due tells of keys whose secrets are in the time of warning or past their age.
func (s *Server) due(ctx context.Context, told map[string]time.Time) {
	s.mu.Lock()
	cfg := s.cfg
	s.mu.Unlock()
	if len(cfg.IAM.KeyClasses) == 0 {
		return
	}
	pepper, err := s.state.pepperFor(cfg)
	if err != nil {
		return // the graph could not have been built with it
	}
	svc, err := iam.NewService(s.store.keys, pepper, nil)
	if err != nil {
		return
	}
	keys, err := svc.Due(ctx, keyClasses(cfg))
	if err != nil {
		s.log.Warn("cannot look for keys that have to be rotated", "error", err)
		return
	}
	for _, d := range keys {
		if time.Since(told[d.Key.ID]) < 24*time.Hour-dueEvery/2 {
			continue
		}
		told[d.Key.ID] = time.Now()
		s.log.Warn("the secret of a key has to be rotated", "key", d.Key.ID, "name", d.Key.Name, "owner", d.Key.Owner, "ends", d.Ends, "over", d.Over)
		s.event(ctx, "key.due", map[string]string{"key": d.Key.ID, "name": d.Key.Name, "owner": d.Key.Owner, "ends": d.Ends.Format(time.RFC3339), "over": fmt.Sprint(d.Over)})
	}
}

func (s *Server) event(ctx context.Context, name string, fields map[string]string) {
	if err := s.audit.Note(ctx, name, fields); err != nil && ctx.Err() == nil {
		s.log.Error("cannot record an event", "event", name, "error", err)
	}
}
