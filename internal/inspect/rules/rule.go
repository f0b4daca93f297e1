// Package rules is the gateway's first detector: patterns for injection, jailbreak, prompt
// extraction and secrets, read in one positional pass over folded text and over every decoding of
// it. A rule carries its own true and false positives and does not load when they fail.
package rules

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/views"
)

// Source is one rule as it is written: the format of gitleaks (id, description, regex, keywords,
// entropy, secretGroup, allowlists) with category, score, channels and examples added.
type Source struct {
	ID          string      `toml:"id"`
	Description string      `toml:"description"`
	Category    string      `toml:"category"` // default: secret
	Score       float64     `toml:"score"`    // roughly the precision, 0..1
	Regex       string      `toml:"regex"`
	Keywords    []string    `toml:"keywords"`
	Entropy     float64     `toml:"entropy"` // Shannon bits per byte that a secret must exceed
	SecretGroup int         `toml:"secretGroup"`
	Channels    []string    `toml:"channels"` // default: all
	Key         bool        `toml:"key"`      // the header of a private key: the body is found too
	Line        bool        `toml:"line"`     // only at the beginning of a line, quotes and marks aside
	Allowlist   *Allowlist  `toml:"allowlist"`
	Allowlists  []Allowlist `toml:"allowlists"`
	Examples    Examples    `toml:"examples"`

	// Not read: the path of a file means nothing in a call.
	Path       string   `toml:"path"`
	Tags       []string `toml:"tags"`
	SkipReport bool     `toml:"skipReport"`
}

// Allowlist takes findings back whose secret, match or line it knows.
type Allowlist struct {
	Description string   `toml:"description"`
	Condition   string   `toml:"condition"`
	RegexTarget string   `toml:"regexTarget"` // secret (default), match, line
	Regexes     []string `toml:"regexes"`
	StopWords   []string `toml:"stopwords"`
	Paths       []string `toml:"paths"`
	Commits     []string `toml:"commits"`
}

// Examples are texts in which the rule must and must not find something. {{kind:N}} stands for N
// characters of a kind (alnum, lower, upper, digit, hex, b64), {{}} for nothing: a repository that
// holds them holds no secret.
type Examples struct {
	Match []string `toml:"match"`
	Miss  []string `toml:"miss"`
}

type rule struct {
	src      Source
	category gate.Category
	channels uint8
	cased    bool // reads the view that keeps case
	pinned   bool // every match begins with one of literals, which is then a match's beginning
	literals []string
	back     int // view bytes before the literal that the pattern may look at
	window   int // view bytes from the literal on
	group    int
	follow   follow
	pattern  string // for text
	tight    string // for letter-spaced text; empty: not read
	tightLit []string
	re, sq   *matcher
	allow    []allow
}

type allow struct {
	all    bool
	target string
	res    []*regexp.Regexp
	stop   []string
}

const (
	windowLimit = 512
	backLimit   = 128
	edge        = 4 // view bytes after the longest match, for what its end looks at
)

func compile(s Source) (*rule, error) {
	if s.Category == "" {
		s.Category = string(gate.Secret)
	}
	if s.Score == 0 {
		s.Score = 0.8
	}
	r := &rule{src: s, category: gate.Category(s.Category), group: s.SecretGroup}
	known := false
	for _, c := range gate.Categories() {
		known = known || c == r.category
	}
	switch {
	case s.ID == "":
		return nil, fmt.Errorf("a rule has no id")
	case !known:
		return nil, fmt.Errorf("rule %s: unknown category %q", s.ID, s.Category)
	case s.Score < 0 || s.Score > 1:
		return nil, fmt.Errorf("rule %s: score %v is not within 0..1", s.ID, s.Score)
	case s.Regex == "":
		return nil, fmt.Errorf("rule %s: no regex", s.ID)
	}
	if len(s.Channels) == 0 {
		r.channels = 0xff
	}
	for _, name := range s.Channels {
		c, ok := gate.ParseChannel(name)
		if !ok {
			return nil, fmt.Errorf("rule %s: unknown channel %q", s.ID, name)
		}
		r.channels |= 1 << c
	}
	r.cased = r.category == gate.Secret
	r.follow = followToken
	if !r.cased {
		r.follow = followNot
	}
	if s.Key {
		r.follow = followKey
	}
	tree, err := syntax.Parse(views.FoldPattern(s.Regex), syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("rule %s: %w", s.ID, err)
	}
	if r.group > tree.MaxCap() {
		return nil, fmt.Errorf("rule %s: secretGroup %d, but the regex has %d", s.ID, r.group, tree.MaxCap())
	}
	if r.cased && r.group == 0 && tree.MaxCap() > 0 {
		r.group = 1 // as gitleaks: the first group is the secret
	}
	if !r.cased {
		tree = spaced(tree)
	}
	// The beginning of a gitleaks pattern that may be anything, or nothing, is no part of a finding.
	tree = unpadded(tree)
	n := longest(tree, windowLimit)
	r.window = n
	if n < windowLimit {
		r.window = n + edge
	}
	if r.literals, r.pinned = starts(tree); !r.pinned {
		if !r.cased || len(s.Keywords) == 0 {
			return nil, fmt.Errorf("rule %s: the regex does not begin with literal text of %d bytes, and there are no keywords", s.ID, minLiteral)
		}
		for _, k := range s.Keywords {
			if k = strings.ToLower(k); len(k) < 2 {
				return nil, fmt.Errorf("rule %s: keyword %q is too short", s.ID, k)
			}
			r.literals = append(r.literals, k)
		}
		r.literals = shortest(r.literals)
		r.back = min(n, backLimit)
	}
	r.pattern = tree.String()
	if r.pinned {
		r.pattern = `\A(?:` + r.pattern + `)`
	}
	r.re = &matcher{pattern: r.pattern}
	// Markup is no word: without its signs "[inst] x" would be found in "instead".
	if !r.cased && !slices.ContainsFunc(r.literals, func(l string) bool { return !wordish(rune(l[0])) }) {
		tight := squeezed(tree)
		if lits, ok := starts(tight); ok {
			r.tight, r.tightLit = `\A(?:`+tight.String()+`)`, lits
			r.sq = &matcher{pattern: r.tight}
		}
	}
	if s.Allowlist != nil {
		s.Allowlists = append(s.Allowlists, *s.Allowlist)
	}
	for _, a := range s.Allowlists {
		x := allow{all: strings.EqualFold(a.Condition, "and"), target: a.RegexTarget}
		if len(a.Paths) > 0 || len(a.Commits) > 0 {
			if x.all {
				continue // asks for a path or a commit, which a call does not have
			}
		}
		for _, p := range a.Regexes {
			re, err := regexp.Compile(p)
			if err != nil {
				return nil, fmt.Errorf("rule %s: allowlist: %w", s.ID, err)
			}
			x.res = append(x.res, re)
		}
		for _, w := range a.StopWords {
			x.stop = append(x.stop, strings.ToLower(w))
		}
		r.allow = append(r.allow, x)
	}
	return r, nil
}

func (r *rule) matcher(squeezed bool) *matcher {
	if squeezed {
		return r.sq
	}
	return r.re
}

// unpadded drops what a pattern begins with when that may be empty and is open to anything.
func unpadded(re *syntax.Regexp) *syntax.Regexp {
	for re.Op == syntax.OpConcat && len(re.Sub) > 1 {
		s := re.Sub[0]
		if !(s.Op == syntax.OpStar || s.Op == syntax.OpRepeat && s.Min == 0 && s.Max != 1) || s.MaxCap() > 0 {
			break
		}
		c := *re
		c.Sub = re.Sub[1:]
		re = &c
	}
	return re
}

// begins says whether a line begins where before ends; marks of headings and lists are looked over.
func begins(before []byte, first bool) bool {
	for len(before) > 0 {
		switch c := before[len(before)-1]; {
		case c == '\n':
			return true
		case bytes.IndexByte([]byte(" #*\"[>-_"), c) < 0:
			return false
		}
		before = before[:len(before)-1]
	}
	return first
}

// match tries the rule on a window and returns the finding's place in it, and the end of the match.
func (r *rule) match(w []byte, squeezed bool) (start, end, whole int, ok bool) {
	re := r.matcher(squeezed).regexp()
	for at := 0; at <= len(w); {
		loc := re.FindSubmatchIndex(w[at:])
		if loc == nil {
			return 0, 0, 0, false
		}
		g := r.group
		if squeezed || loc[2*g] < 0 || loc[2*g] == loc[2*g+1] {
			g = 0
		}
		s, e := at+loc[2*g], at+loc[2*g+1]
		if r.passes(w[s:e], w[at+loc[0]:at+loc[1]], w) {
			return s, e, at + loc[1], true
		}
		if r.pinned || loc[1] == 0 {
			break
		}
		at += loc[1]
	}
	return 0, 0, 0, false
}

func (r *rule) passes(secret, match, line []byte) bool {
	if r.src.Entropy > 0 && entropy(secret) <= r.src.Entropy {
		return false
	}
	for i := range r.allow {
		if r.allow[i].knows(secret, match, line) {
			return false
		}
	}
	return true
}

func (a *allow) knows(secret, match, line []byte) bool {
	target := secret
	switch a.target {
	case "match":
		target = match
	case "line":
		target = line
	}
	byRegex, byWord := false, false
	for _, re := range a.res {
		byRegex = byRegex || re.Match(target)
	}
	low := strings.ToLower(string(secret))
	for _, w := range a.stop {
		byWord = byWord || strings.Contains(low, w)
	}
	if a.all {
		return (byRegex || len(a.res) == 0) && (byWord || len(a.stop) == 0) && len(a.res)+len(a.stop) > 0
	}
	return byRegex || byWord
}

// entropy is Shannon's, in bits per byte.
func entropy(p []byte) float64 {
	var n [256]int
	for _, c := range p {
		n[c]++
	}
	h := 0.0
	for _, k := range n {
		if k > 0 {
			f := float64(k) / float64(len(p))
			h -= f * math.Log2(f)
		}
	}
	return h
}
