package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/iam/recall"
)

// boardTTL ends a board that nobody posts on: by then every gateway has read it.
const boardTTL = 30 * 24 * time.Hour

// Board is where the gateways of a Redis tell each other which keys have ended.
type Board struct {
	s   *Store
	key string
}

var _ recall.Board = (*Board)(nil)

// Board is the one of this store's prefix.
func (s *Store) Board() *Board {
	return &Board{s, strings.TrimSuffix(s.prefix, "{quota}:") + "{recall}"}
}

// Post implements recall.Board.
func (b *Board) Post(ctx context.Context, ns []recall.Note) error {
	fields := make([]any, 0, 2*len(ns))
	for _, n := range ns {
		fields = append(fields, n.Key, strconv.FormatInt(n.At.Unix(), 10)+" "+n.MAC)
	}
	p := b.s.c.TxPipeline()
	p.HSet(ctx, b.key, fields...)
	p.Expire(ctx, b.key, boardTTL)
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("redis: post recalls: %w", err)
	}
	return nil
}

// Read implements recall.Board.
func (b *Board) Read(ctx context.Context, most int) ([]recall.Note, error) {
	n, err := b.s.c.HLen(ctx, b.key).Result()
	if err != nil {
		return nil, fmt.Errorf("redis: read recalls: %w", err)
	}
	if n > int64(most) {
		return nil, errors.New("redis: read recalls: more than a gateway keeps")
	}
	if n == 0 {
		return nil, nil
	}
	m, err := b.s.c.HGetAll(ctx, b.key).Result()
	if err != nil {
		return nil, fmt.Errorf("redis: read recalls: %w", err)
	}
	ns := make([]recall.Note, 0, len(m))
	for k, v := range m {
		at, mac, _ := strings.Cut(v, " ")
		sec, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			continue // whoever wrote it, no gateway did
		}
		ns = append(ns, recall.Note{Key: k, At: time.Unix(sec, 0).UTC(), MAC: mac})
	}
	return ns, nil
}

// Remove implements recall.Board.
func (b *Board) Remove(ctx context.Context, keys []string) error {
	if err := b.s.c.HDel(ctx, b.key, keys...).Err(); err != nil {
		return fmt.Errorf("redis: remove recalls: %w", err)
	}
	return nil
}
