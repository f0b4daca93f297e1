package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/console/local"
)

// Admin is a client of the administrative interface of a configuration's gateway: over the socket of
// its data directory where it runs, and otherwise within this process, which then keeps the record
// itself. close ends it.
func Admin(ctx context.Context, cfg *config.Config, log *slog.Logger) (client *http.Client, done func(), err error) {
	if c, err := local.Dial(ctx, cfg.DataDir); err == nil {
		_ = c.Close()
		t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return local.Dial(ctx, cfg.DataDir) }}
		return &http.Client{Transport: t}, t.CloseIdleConnections, nil
	}
	st, err := openState(cfg)
	if err != nil {
		return nil, nil, err
	}
	record, err := openAudit(cfg, log)
	if err != nil {
		return nil, nil, fmt.Errorf("%w (is a gateway running on this data directory whose %s is missing?)", err, local.FileName)
	}
	closers := []func() error{record.Close}
	done = func() {
		for i := len(closers) - 1; i >= 0; i-- {
			if err := closers[i](); err != nil {
				log.Error("cannot close", "error", err)
			}
		}
	}
	db, err := openStore(ctx, cfg)
	if err != nil {
		done()
		return nil, nil, err
	}
	closers = append(closers, db.close)
	p, err := newPeople(ctx, cfg, db, log, record.Note)
	if err != nil {
		done()
		return nil, nil, err
	}
	k := &desk{state: st, store: db, people: p, note: record, log: log, cfg: func() *config.Config { return cfg }}
	h, err := k.handler()
	if err != nil {
		done()
		return nil, nil, err
	}
	return &http.Client{Transport: inProcess{h}}, done, nil
}

// inProcess calls a handler without a connection, as the machine's administrator.
type inProcess struct{ h http.Handler }

func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	in := local.Mark(r)
	in.RequestURI = r.URL.RequestURI()
	w := &kept{header: http.Header{}, status: http.StatusOK}
	t.h.ServeHTTP(w, in)
	if err := r.Context().Err(); err != nil {
		return nil, errors.Join(err, r.Body.Close())
	}
	return &http.Response{
		StatusCode: w.status, Status: http.StatusText(w.status), Header: w.header, Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()),
	}, nil
}

// kept keeps an answer.
type kept struct {
	header http.Header
	status int
	once   sync.Once
	body   bytes.Buffer
}

func (k *kept) Header() http.Header { return k.header }

func (k *kept) WriteHeader(status int) { k.once.Do(func() { k.status = status }) }

func (k *kept) Write(b []byte) (int, error) {
	k.WriteHeader(http.StatusOK)
	return k.body.Write(b)
}
