package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/iam/price"
	"sallyport.dev/sallyport/internal/iam/quota"
)

// prices is a table and where it came from.
type prices struct {
	table  *price.Table
	file   string // empty: the release's alone
	digest string // of the file, in the record; "release" without one
	mark   os.FileInfo
}

// readPrices reads the table of a file over the release's; an empty name means the release's alone.
func readPrices(file string) (*prices, error) {
	table, err := price.Example()
	if err != nil {
		return nil, err
	}
	p := &prices{table: table, file: file, digest: "release"}
	if file == "" {
		return p, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read iam.prices: %w", err)
	}
	defer f.Close()
	if p.mark, err = f.Stat(); err != nil { // before reading, so that no change is missed
		return nil, fmt.Errorf("read iam.prices: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, price.MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read iam.prices: %w", err)
	}
	own, err := price.Parse(file, b)
	if err != nil {
		return nil, fmt.Errorf("read iam.prices: %w", err)
	}
	sum := sha256.Sum256(b)
	p.table, p.digest = own.Over(table), "sha256:"+hex.EncodeToString(sum[:])
	return p, nil
}

// priceBook is the table of the moment. Each cost is reckoned by one table, old or new.
type priceBook struct{ atomic.Pointer[prices] }

// Cost implements quota.Pricer.
func (b *priceBook) Cost(model string, n quota.Counts) (micro int64, known bool) {
	return b.Load().table.Cost(model, n)
}

// ReloadPrices reads the file of prices again and takes all of it, or nothing: then the old prices stay.
func (s *Server) ReloadPrices(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := readPrices(s.cfg.IAM.Prices)
	if err != nil {
		old := s.prices.Load()
		s.log.Error("prices not reloaded; the old ones stay", "prices", old.digest, "dated", old.table.Dated, "error", err)
		s.event(ctx, "prices_reload_refused", map[string]string{"prices": old.digest, "error": err.Error()})
		return err
	}
	s.setPrices(ctx, p)
	return nil
}

// setPrices makes prices count, and says so where they are others. s.mu is held.
func (s *Server) setPrices(ctx context.Context, p *prices) {
	old := s.prices.Swap(p)
	if old.digest == p.digest {
		return
	}
	s.log.Info("prices reloaded", "prices", p.digest, "dated", p.table.Dated, "before", old.digest)
	s.event(ctx, "prices_reload", map[string]string{
		"before": old.digest, "before_dated": old.table.Dated, "after": p.digest, "after_dated": p.table.Dated, "version": p.table.Version, "currency": p.table.Currency,
	})
}

// followPrices takes a changed file of prices when it has been left alone between two looks. Like the active
// pack it is looked for by name: one that is replaced cannot be missed so, on any file system. One that is
// missing is complained of once, and the old prices stay.
func (s *Server) followPrices(ctx context.Context) {
	t := time.NewTicker(followEvery)
	defer t.Stop()
	const never = "" // no file has this name
	triedFile, seenFile := never, never
	var tried, seen os.FileInfo
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		p := s.prices.Load()
		if p.file == "" {
			continue
		}
		now, err := os.Stat(p.file)
		if err != nil {
			now = nil
		}
		if unchanged(now, p.mark) || triedFile == p.file && unchanged(now, tried) {
			continue
		}
		if seenFile != p.file || !unchanged(now, seen) {
			seenFile, seen = p.file, now
			continue
		}
		triedFile, tried = p.file, now
		_ = s.ReloadPrices(ctx) // says in the log what happened
	}
}

// unchanged says whether a file is what it was. One that is replaced is another file.
func unchanged(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
