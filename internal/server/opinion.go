package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/opinion"
)

// noteWithin bounds how long the record of an answer may take.
const noteWithin = 5 * time.Second

// opinion puts the second opinion behind a detector, where the configuration asks for one. Otherwise
// it returns the detector as it is.
func (s *Server) opinion(ctx context.Context, cfg *config.Config, g *graph, det detect.Detector) (detect.Detector, error) {
	c := cfg.Inspect.SecondOpinion
	if c.Mode == config.OpinionOff {
		return det, nil
	}
	first, ok := det.(detect.Rater)
	if !ok {
		return nil, errors.New("inspect.second_opinion: the active pack has no learned tiers, so nothing can be unsure; set mode: off")
	}
	t, err := newTransport(config.Upstream{Name: "inspect.second_opinion", Protocol: config.ProtocolH1, Timeouts: config.UpstreamTimeouts{
		Dial: opinion.AfterDeadline, TLS: opinion.AfterDeadline,
	}}, cfg.Proxy.AllowPrivate)
	if err != nil {
		return nil, err
	}
	t.MaxResponseHeaderBytes = 16 << 10
	t.MaxIdleConnsPerHost = c.AtOnce
	o := opinion.Options{
		First: first, Transport: t, URL: c.URL, Protocol: opinion.Protocol(c.Protocol), Model: c.Model,
		After: c.Mode == config.OpinionAfter, Low: c.Low, High: c.High, Deadline: c.Deadline,
		PerMinute: c.PerMinute, AtOnce: c.AtOnce, Log: s.log, Report: s.opinionReport(ctx),
	}
	if c.Credential != nil {
		key, err := c.Credential.Resolve()
		if err != nil {
			return nil, fmt.Errorf("resolve credential of inspect.second_opinion: %w", err)
		}
		o.Key = key.Reveal
	}
	second, err := opinion.New(o)
	if err != nil {
		return nil, err
	}
	g.ran.Go(func() {
		second.Run(ctx)
		t.CloseIdleConnections()
		s.log.Info("second opinion: ended", slog.Any("counts", second.Stats()))
	})
	return second, nil
}

// opinionReport puts the answers to questions that no call waited for into the record, under the ids
// of the calls. Once ctx has ended, the first that cannot be recorded is the last that is tried.
func (s *Server) opinionReport(ctx context.Context) func(opinion.Report) {
	var lost atomic.Bool
	return func(r opinion.Report) {
		if ctx.Err() != nil && lost.Load() {
			return
		}
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteWithin)
		defer cancel()
		err := s.audit.Note(within, "second_opinion", map[string]string{"call": r.Call, "channel": r.Channel.String(), "answer": r.Answer})
		if lost.Store(err != nil); err != nil {
			s.log.Error("cannot record a second opinion", "id", r.Call, "answer", r.Answer, "error", err)
		}
	}
}
