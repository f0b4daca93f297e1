package roster

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/peer"
)

// Program is a service or an agent that may come with a certificate. It never changes: another state of the
// directory has others.
type Program struct {
	Kind, ID, Tenant, Name string
	Scopes                 directory.Scopes
}

// maxFound bounds how many SPIFFE ids are remembered. All of them are of callers that were verified.
const maxFound = 10_000

// certificates are the programs by the SPIFFE ids that are said of them.
type certificates struct {
	exact    map[string][]*Program
	patterns map[string][]pattern // by trust domain, as spiffe://domain
	found    *sync.Map            // by SPIFFE id: found; so that a call tries no pattern again
	n        *atomic.Int64
}

type pattern struct {
	text string
	p    *Program
}

type found struct {
	p *Program
	n int
}

func (c *certificates) init() {
	*c = certificates{exact: map[string][]*Program{}, patterns: map[string][]pattern{}, found: &sync.Map{}, n: &atomic.Int64{}}
}

func (c *certificates) add(p *Program, subjects []directory.Subject) {
	for _, s := range subjects {
		if s.Issuer != directory.IssuerSPIFFE {
			continue
		}
		if !strings.Contains(s.Subject, "*") {
			c.exact[s.Subject] = append(c.exact[s.Subject], p)
			continue
		}
		d := domain(s.Subject)
		c.patterns[d] = append(c.patterns[d], pattern{s.Subject, p})
	}
}

// domain is the trust domain of a SPIFFE id or pattern, with the scheme.
func domain(id string) string {
	const scheme = "spiffe://"
	if i := strings.IndexByte(strings.TrimPrefix(id, scheme), '/'); i >= 0 && strings.HasPrefix(id, scheme) {
		return id[:len(scheme)+i]
	}
	return ""
}

func (c *certificates) find(id string) found {
	if v, ok := c.found.Load(id); ok {
		return v.(found)
	}
	var f found
	take := func(p *Program) {
		if f.p != p {
			f.p, f.n = p, f.n+1
		}
	}
	for _, p := range c.exact[id] {
		take(p)
	}
	for _, x := range c.patterns[domain(id)] {
		if peer.Match(x.text, id) {
			take(x.p)
		}
	}
	if c.n.Add(1) <= maxFound {
		c.found.Store(id, f)
	}
	return f
}

// ByCertificate finds the service or agent of which the SPIFFE id of a verified certificate is said, in
// good standing or not, and how many such there are: where they are more than one, nobody knows which of
// them calls. The error is a gate.Fault when what is known is too old to decide by.
func (r *Roster) ByCertificate(id string, now time.Time) (p *Program, n int, err error) {
	if err := r.m.Check(now); err != nil {
		return nil, 0, err
	}
	x := r.index.Load()
	if x.certs.found == nil || id == "" {
		return nil, 0, nil
	}
	f := x.certs.find(id)
	return f.p, f.n, nil
}
