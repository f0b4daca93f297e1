// Package redis keeps what nodes share and may lose: the leases of limits. It implements quota.Store
// for Redis 5 and later, and for Valkey.
//
// A round of leases is one script, so it is atomic and one round trip. All keys have one hash tag: in a
// cluster they live on one shard, which carries about as many rounds a second as one Redis does; nodes
// make two a second each, and one more for each lease that ran out before it was refilled.
//
// Redis must not evict keys (maxmemory-policy noeviction): what is evicted is forgotten until its
// holders next ask. A replica that is promoted may lack the last rounds; what those leased may then be
// leased once more.
package redis

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sallyport.dev/sallyport/internal/iam/quota"
	"sallyport.dev/sallyport/internal/secret"
)

//go:embed lease.lua
var leaseScript string

// DefaultSettle: see Options.Settle.
const DefaultSettle = 2 * time.Second

// nodeTTL is how long a node counts after its last round.
const nodeTTL = 15 * time.Second

// Options says where Redis is.
type Options struct {
	// URL is redis://, rediss:// (TLS) or unix://, with user, password and database (go-redis' ParseURL).
	URL secret.String
	// Prefix stands before every key; empty: "sallyport". Installations that share a Redis need one each.
	Prefix string
	// Settle is how long a Redis that lost its state hears what the nodes hold before it grants anything;
	// 0: DefaultSettle. The time between two rounds of a node (quota.Shared.Every) must be well below it.
	Settle time.Duration
}

// Store is a connection pool to one Redis.
type Store struct {
	c      *redis.Client
	script *redis.Script
	prefix string
	settle time.Duration
}

// silent keeps the library from writing to standard error: what fails is returned, and reported once.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func init() { redis.SetLogger(silent{}) }

// Open does not dial: a Redis that is away at the start is one that comes back.
func Open(o Options) (*Store, error) {
	ro, err := redis.ParseURL(o.URL.Reveal())
	if err != nil {
		return nil, errors.New("redis: open store: the URL cannot be read; expected redis://[user:password@]host:port/database")
	}
	if o.Prefix == "" {
		o.Prefix = "sallyport"
	}
	if o.Settle == 0 {
		o.Settle = DefaultSettle
	}
	if strings.ContainsAny(o.Prefix, "{}") {
		return nil, errors.New("redis: open store: the prefix holds a brace")
	}
	ro.MaxRetries = -1 // a round that may have happened is not repeated; the next one makes up for it
	ro.DialTimeout, ro.DialerRetries = time.Second, 1
	ro.ContextTimeoutEnabled = true
	return &Store{c: redis.NewClient(ro), script: redis.NewScript(leaseScript), prefix: o.Prefix + ":{quota}:", settle: o.Settle}, nil
}

// Close closes the connections.
func (s *Store) Close() error { return s.c.Close() }

// Lease implements quota.Store.
func (s *Store) Lease(ctx context.Context, node string, asks []quota.Ask) (quota.Answer, error) {
	keys := make([]string, 2, 2+len(asks))
	keys[0], keys[1] = s.prefix+"epoch", s.prefix+"nodes"
	args := make([]any, 4, 4+11*len(asks))
	args[0], args[1], args[2], args[3] = rand.Text(), node, s.settle.Milliseconds(), nodeTTL.Milliseconds()
	for i := range asks {
		a := &asks[i]
		keys = append(keys, s.prefix+"a:"+a.Key)
		slots := 0
		if a.Slots {
			slots = 1
		}
		args = append(args, slots, a.Index, a.Amount, a.Need, a.Want, a.Debt, a.Return, a.Held, a.Generation, a.TTL.Milliseconds()+1, a.Length.Milliseconds())
	}
	v, err := s.script.Run(ctx, s.c, keys, args...).Slice()
	if err != nil {
		return quota.Answer{}, fmt.Errorf("redis: lease: %w", err)
	}
	return answer(v, len(asks))
}

// answer reads what the script returned. Redis is trusted to count, not to be well.
func answer(v []any, asks int) (quota.Answer, error) {
	var a quota.Answer
	if len(v) != 3+asks {
		return a, fmt.Errorf("redis: read leases: %d values for %d asks", len(v), asks)
	}
	epoch, ok1 := v[0].(string)
	settling, ok2 := v[1].(int64)
	nodes, ok3 := v[2].(int64)
	if !ok1 || !ok2 || !ok3 || nodes < 1 || nodes > 1<<20 {
		return a, errors.New("redis: read leases: not what the script returns")
	}
	a.Epoch, a.Settling, a.Nodes = epoch, settling == 1, int(nodes)
	for _, x := range v[3:] {
		g, ok := x.([]any)
		if !ok || len(g) != 4 {
			return a, errors.New("redis: read leases: not what the script returns")
		}
		granted, ok1 := g[0].(int64)
		used, ok2 := g[1].(int64)
		index, ok3 := g[2].(int64)
		generation, ok4 := g[3].(string)
		if !ok1 || !ok2 || !ok3 || !ok4 || granted < 0 || used < 0 {
			return a, errors.New("redis: read leases: not what the script returns")
		}
		a.Grants = append(a.Grants, quota.Grant{Granted: granted, Used: used, Index: index, Generation: generation})
	}
	return a, nil
}
