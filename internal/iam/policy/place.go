package policy

import (
	"maps"
	"sync"
	"sync/atomic"

	cedar "github.com/cedar-policy/cedar-go"
)

// placeCache keeps what the endpoints of upstreams are in. There are few of them, and all are seen
// soon, so the whole is copied for each that is new; beyond a bound they are made anew for each call.
// Reading takes no lock.
type placeCache struct {
	seen atomic.Pointer[map[[2]string]*hierarchy]
	add  sync.Mutex
}

const maxPlaces = 1024

// hierarchy is an endpoint in its upstream, and what a model called there is in.
type hierarchy struct {
	in       [2]cedar.EntityUID // the endpoint and its upstream
	endpoint cedar.EntityUIDSet // what each is in
	model    cedar.EntityUIDSet
	tool     cedar.EntityUIDSet
}

func (c *placeCache) of(upstream, endpoint string) *hierarchy {
	key := [2]string{upstream, endpoint}
	if m := c.seen.Load(); m != nil {
		if h, ok := (*m)[key]; ok {
			return h
		}
	}
	up, end := cedar.NewEntityUID(typeUpstream, cedar.String(upstream)), cedar.NewEntityUID(typeEndpoint, cedar.String(endpoint))
	h := &hierarchy{in: [2]cedar.EntityUID{end, up}, endpoint: cedar.NewEntityUIDSet(up),
		model: cedar.NewEntityUIDSet(end, up), tool: cedar.NewEntityUIDSet(up)}
	c.add.Lock()
	defer c.add.Unlock()
	old := c.seen.Load()
	if old == nil {
		c.seen.Store(&map[[2]string]*hierarchy{key: h})
	} else if len(*old) < maxPlaces {
		more := maps.Clone(*old)
		more[key] = h
		c.seen.Store(&more)
	}
	return h
}
