package recall

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"sallyport.dev/sallyport/internal/durable"
)

// Run reads the board and brings the database up to date until ctx ends. A database that hangs does
// not keep the board from being read.
func (b *Book) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	every := func(f func(context.Context) error) {
		t := time.NewTicker(Every)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				_ = f(ctx) // Look has said so; Catchup tries again
			}
		}
	}
	wg.Go(func() { every(b.Look) })
	wg.Go(func() { every(b.Catchup) })
}

// Look reads the board once, and posts again what is not on it any more. Run does so by itself.
func (b *Book) Look(ctx context.Context) error {
	if b.o.Board == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	ns, err := b.o.Board.Read(ctx, most)
	if err == nil {
		err = b.post(ctx, b.take(ns)...)
	}
	b.mu.Lock()
	tell := (err != nil) != b.failed
	b.failed = err != nil
	b.mu.Unlock()
	if tell {
		if err != nil {
			err = fmt.Errorf("recall: read board: %w", err)
		}
		b.o.Fault(err)
	}
	return err
}

// take makes the notes of a board count and returns those that it lacks.
func (b *Book) take(ns []Note) (lacks []Note) {
	b.mu.Lock()
	defer b.mu.Unlock()
	there, more := make(map[string]bool, len(ns)), false
	for _, n := range ns {
		if !b.valid(n) {
			continue
		}
		there[n.Key] = true
		if b.notes[n.Key] == nil {
			b.notes[n.Key], more = &kept{Note: n}, true
		}
	}
	for k, n := range b.notes {
		if !n.done && !there[k] {
			lacks = append(lacks, n.Note)
		}
	}
	if more {
		b.publish()
	}
	return lacks
}

// Catchup tells the database of every key that ended without it, and forgets what all know. Run does so
// by itself.
func (b *Book) Catchup(ctx context.Context) error {
	now := b.o.Now()
	b.mu.Lock()
	var tell, over []string
	for k, n := range b.notes {
		age := now.Sub(n.At)
		switch {
		case b.o.Ended(k):
			n.done = true
			if age > Keep {
				over = append(over, k)
			}
		case n.done && age > Keep: // the database does not know such a key
			over = append(over, k)
		case !n.done && (n.own || age > settle): // others are helped, should who took it be gone
			tell = append(tell, k)
		}
	}
	b.mu.Unlock()
	var failed error
	for _, k := range tell {
		c, cancel := context.WithTimeout(ctx, wait)
		failed = b.o.Revoke(c, k)
		cancel()
		if failed != nil {
			break
		}
		b.mu.Lock()
		b.notes[k].done = true
		b.mu.Unlock()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range over {
		delete(b.notes, k)
	}
	if len(over) > 0 {
		b.publish()
		if b.o.Board != nil {
			c, cancel := context.WithTimeout(ctx, wait)
			_ = b.o.Board.Remove(c, over) // what stays there is read again and forgotten again
			cancel()
		}
	}
	if len(over)+len(tell) > 0 {
		failed = errors.Join(failed, b.save())
	}
	return failed
}

// save writes what this gateway took and the database does not know. b.mu is held.
func (b *Book) save() error {
	ns := []Note{}
	for _, n := range b.notes {
		if n.own && !n.done {
			ns = append(ns, n.Note)
		}
	}
	if len(ns) == 0 {
		return durable.Remove(b.o.File)
	}
	text, err := json.Marshal(ns)
	if err == nil {
		err = durable.WriteFile(b.o.File, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("recall: keep recalls: %w", err)
	}
	return nil
}

func load(file string) (ns []Note, err error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &ns, json.RejectUnknownMembers(true))
	}
	if err != nil {
		return nil, fmt.Errorf("recall: read recalls: %w", err)
	}
	return ns, nil
}
