// Package policy says what happens to a finding: per category, channel and direction, with
// overrides by upstream, model, endpoint and key.
//
// It promises that one scope always gets one answer, that a lookup allocates nothing, and that two
// policies with the same hash decide alike. It knows nothing of how findings are made.
package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
)

// Rule overrides the built-in policy for the findings that fit every condition given. A condition
// that is not given fits everything. Upstream, Model, Endpoint and Key are patterns in which *
// stands for any run of characters; they are compared byte for byte, so case counts.
type Rule struct {
	Category  *gate.Category
	Channel   *gate.Channel
	Direction *gate.Direction
	Upstream  string // the upstream's name
	Model     string // as the caller asked for it
	Endpoint  string // wire's name: chat.completions, messages, ...
	Key       string // the principal's id
	Action    gate.Action
}

// Options is a policy as it is configured. The zero value is the built-in policy.
type Options struct {
	// Rules are tried in order; the first that fits decides, as in a firewall: what the operator
	// reads from top to bottom is what happens.
	Rules []Rule
}

// Scope is where a finding was made.
type Scope struct {
	Upstream, Model, Endpoint, Key string
}

// Policy is immutable and safe for concurrent use.
type Policy struct {
	rules []Rule
	base  Table // for scopes that no scoped rule can fit
	// scoped is set when a rule looks at the scope at all.
	scoped bool
	hash   string
}

const (
	categories = 6 // the five that can be found, and any other
	channels   = 6
	directions = 2
)

// Table is a policy resolved for one scope. Resolve it once per exchange.
type Table struct {
	cells [categories][channels][directions]gate.Action
}

// New checks a policy and makes it ready.
func New(o Options) (*Policy, error) {
	p := &Policy{rules: slices.Clone(o.Rules)}
	for i, r := range p.rules {
		if err := check(r); err != nil {
			return nil, fmt.Errorf("policy rule %d: %w", i+1, err)
		}
		p.scoped = p.scoped || r.Upstream != "" || r.Model != "" || r.Endpoint != "" || r.Key != ""
	}
	if !p.scoped {
		p.base = p.resolve(Scope{})
	}
	p.hash = p.sum()
	return p, nil
}

func check(r Rule) error {
	if r.Category != nil && !slices.Contains(gate.Categories(), *r.Category) {
		return fmt.Errorf("unknown category %q: want one of %v", string(*r.Category), gate.Categories())
	}
	if r.Channel != nil && int(*r.Channel) >= channels {
		return fmt.Errorf("unknown channel %d: want one of %v", *r.Channel, gate.Channels())
	}
	if r.Direction != nil && int(*r.Direction) >= directions {
		return fmt.Errorf("unknown direction %d: want request or answer", *r.Direction)
	}
	if r.Action > gate.Block {
		return fmt.Errorf("unknown action %d: want allow, flag, sanitize or block", r.Action)
	}
	return nil
}

// Base is the policy where nothing is known of the scope: rules that name an upstream, a model, an
// endpoint or a key do not fit.
func (p *Policy) Base() Table { return p.Resolve(Scope{}) }

// Resolve works the policy out for one scope.
func (p *Policy) Resolve(s Scope) Table {
	if !p.scoped {
		return p.base
	}
	return p.resolve(s)
}

func (p *Policy) resolve(s Scope) Table {
	t := builtin
	// Backwards, so that the first rule in the list has the last word.
	for i := len(p.rules) - 1; i >= 0; i-- {
		r := &p.rules[i]
		if match(r.Upstream, s.Upstream) && match(r.Model, s.Model) && match(r.Endpoint, s.Endpoint) && match(r.Key, s.Key) {
			t.apply(r)
		}
	}
	return t
}

func (t *Table) apply(r *Rule) {
	for c := range categories {
		if r.Category != nil && c != row(*r.Category) {
			continue
		}
		for ch := range channels {
			if r.Channel != nil && ch != int(*r.Channel) {
				continue
			}
			for d := range directions {
				if r.Direction == nil || d == int(*r.Direction) {
					t.cells[c][ch][d] = r.Action
				}
			}
		}
	}
}

// Action says what happens to a finding. A channel or direction that does not exist blocks.
func (t *Table) Action(c gate.Category, ch gate.Channel, d gate.Direction) gate.Action {
	if int(ch) >= channels || int(d) >= directions {
		return gate.Block
	}
	return t.cells[row(c)][ch][d]
}

// Action is Resolve and the lookup in one, for callers that have a single finding.
func (p *Policy) Action(c gate.Category, ch gate.Channel, d gate.Direction, s Scope) gate.Action {
	t := p.Resolve(s)
	return t.Action(c, ch, d)
}

// Hash names the policy: equal hashes decide alike, in this release and the next.
func (p *Policy) Hash() string { return p.hash }

func (p *Policy) sum() string {
	h := sha256.New()
	// The built-in cells are part of the policy: a release that changes a default changes the hash.
	for c := range categories {
		for ch := range channels {
			for d := range directions {
				h.Write([]byte{byte(builtin.cells[c][ch][d])})
			}
		}
	}
	for _, r := range p.rules {
		var b []byte
		for _, s := range []string{opt(r.Category), optName(r.Channel), optName(r.Direction), r.Upstream, r.Model, r.Endpoint, r.Key, r.Action.String()} {
			b = strconv.AppendQuote(b, s)
		}
		h.Write(append(b, '\n'))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func opt[T ~string](p *T) string {
	if p == nil {
		return ""
	}
	return string(*p)
}

func optName[T fmt.Stringer](p *T) string {
	if p == nil {
		return ""
	}
	return (*p).String()
}

func row(c gate.Category) int {
	switch c {
	case gate.Injection:
		return 0
	case gate.Jailbreak:
		return 1
	case gate.PromptExtraction:
		return 2
	case gate.Secret:
		return 3
	case gate.Unread:
		return 4
	}
	return 5
}

// match compares s with a pattern in which * stands for any run of characters, none included. It
// takes the first fit of every literal piece, which is enough when * is the only wildcard.
func match(pattern, s string) bool {
	if pattern == "" || pattern == "*" {
		return true
	}
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for {
		piece, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(s, piece)
		}
		i := strings.Index(s, piece)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(piece):], more
	}
}
