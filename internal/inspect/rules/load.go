package rules

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"

	"github.com/BurntSushi/toml"

	"sallyport.dev/sallyport/internal/gate"
)

// engineVersion is part of Version: it changes when the same rules may find something else.
const engineVersion = "1"

//go:embed *.toml
var builtin embed.FS

// Options says which rules are loaded.
type Options struct {
	// Files are further rule files, in our format or gitleaks' own.
	Files []string
	// Without leaves rules out by id.
	Without []string
	// Bare leaves all built-in rules out.
	Bare bool
	// FS holds further rule files in our format, each rule with its examples: all of rules/*.toml.
	FS fs.FS
	// Salt becomes part of the version: whatever else decides.
	Salt string
}

type file struct {
	Title string   `toml:"title"`
	Rules []Source `toml:"rules"`
	// Allowlist and Allowlists of a gitleaks file hold for all its rules.
	Allowlist  *Allowlist  `toml:"allowlist"`
	Allowlists []Allowlist `toml:"allowlists"`
	MinVersion string      `toml:"minVersion"`
	Extend     any         `toml:"extend"`
}

// Default is the engine with the built-in rules, loaded once.
var Default = sync.OnceValues(func() (*Engine, error) { return Load(Options{}) })

// Load compiles rules and checks each against its examples. A rule that fails its own examples, or
// a file that cannot be read, is an error that names it.
func Load(o Options) (*Engine, error) {
	hash := sha256.New()
	fmt.Fprintf(hash, "sallyport rules %s\n", engineVersion)
	var srcs []Source
	var warnings []string
	if !o.Bare {
		names, err := builtin.ReadDir(".")
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			text, err := builtin.ReadFile(n.Name())
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(hash, "%d\n%s", len(text), text)
			s, err := parse(string(text), true)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", n.Name(), err)
			}
			srcs = append(srcs, s...)
		}
	}
	if o.FS != nil {
		names, err := fs.Glob(o.FS, "rules/*.toml")
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			text, err := fs.ReadFile(o.FS, name)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(hash, "%d\n%s", len(text), text)
			s, err := parse(string(text), true)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			srcs = append(srcs, s...)
		}
	}
	for _, path := range o.Files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(hash, "%d\n%s", len(text), text)
		s, w, err := LoadGitleaks(strings.NewReader(string(text)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
		srcs = append(srcs, s...)
		warnings = append(warnings, w...)
	}
	out := map[string]bool{}
	for _, id := range o.Without {
		out[id] = true
	}
	left := append([]string(nil), o.Without...)
	sort.Strings(left)
	fmt.Fprintf(hash, "without %q", left)
	if o.Salt != "" {
		fmt.Fprintf(hash, "salt %q", o.Salt)
	}
	return assemble(srcs, out, warnings, hex.EncodeToString(hash.Sum(nil)[:16]))
}

func assemble(srcs []Source, without map[string]bool, warnings []string, version string) (*Engine, error) {
	var rs []*rule
	var bad []error
	seen := map[string]bool{}
	for _, s := range srcs {
		if seen[s.ID] {
			return nil, fmt.Errorf("rule %s: there are two", s.ID)
		}
		seen[s.ID] = true
		if without[s.ID] {
			continue
		}
		r, err := compile(s)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		rs = append(rs, r)
	}
	for id := range without {
		if !seen[id] {
			return nil, fmt.Errorf("rule %s: there is none to leave out", id)
		}
	}
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	e := newEngine(rs, version)
	e.warnings = warnings
	if err := e.check(); err != nil {
		return nil, err
	}
	// The check compiled every pattern; most will not be needed again.
	for _, r := range rs {
		r.re = &matcher{pattern: r.pattern}
		if r.tight != "" {
			r.sq = &matcher{pattern: r.tight}
		}
	}
	return e, nil
}

func parse(text string, strict bool) ([]Source, error) {
	var f file
	md, err := toml.Decode(text, &f)
	if err != nil {
		return nil, err
	}
	if u := md.Undecoded(); strict && len(u) > 0 {
		return nil, fmt.Errorf("unknown key %s", u[0])
	}
	if f.Allowlist != nil {
		f.Allowlists = append(f.Allowlists, *f.Allowlist)
	}
	for i := range f.Rules {
		f.Rules[i].Allowlists = append(f.Rules[i].Allowlists, f.Allowlists...)
		if strict && (len(f.Rules[i].Examples.Match) < 2 || len(f.Rules[i].Examples.Miss) < 2) {
			return nil, fmt.Errorf("rule %s: needs two examples to match and two to miss", f.Rules[i].ID)
		}
	}
	return f.Rules, nil
}

// LoadGitleaks reads a rule file in the format of gitleaks. Rules for file paths only are left out;
// rules that come without examples get one made from their pattern, and those for which none can be
// made are loaded unchecked. Both are told in warnings.
func LoadGitleaks(r io.Reader) (rules []Source, warnings []string, err error) {
	text, err := io.ReadAll(io.LimitReader(r, 16<<20))
	if err != nil {
		return nil, nil, err
	}
	all, err := parse(string(text), false)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range all {
		if s.Regex == "" {
			warnings = append(warnings, fmt.Sprintf("rule %s: left out: it is about file paths", s.ID))
			continue
		}
		if len(s.Examples.Match) == 0 {
			if x, ok := generate(s); ok {
				s.Examples.Match = []string{x}
			} else {
				warnings = append(warnings, fmt.Sprintf("rule %s: loaded unchecked: no example could be made", s.ID))
			}
		}
		rules = append(rules, s)
	}
	return rules, warnings, nil
}

// check runs every rule on its examples.
func (e *Engine) check() error {
	var bad []error
	for i, r := range e.rules {
		for k, want := range [][]string{r.src.Examples.Miss, r.src.Examples.Match} {
			for n, x := range want {
				text := expand(x, i)
				found := false
				for _, f := range e.Detect(&gate.Segment{Text: []byte(text), Channel: r.anyChannel()}) {
					found = found || f.Rule == r.src.ID
				}
				if found != (k == 1) {
					bad = append(bad, fmt.Errorf("rule %s: example %s[%d] %q %s", r.src.ID, []string{"miss", "match"}[k], n, x, []string{"is found", "is not found"}[k]))
				}
			}
		}
	}
	return errors.Join(bad...)
}

func (r *rule) anyChannel() gate.Channel {
	for _, c := range gate.Channels() {
		if r.channels&(1<<c) != 0 {
			return c
		}
	}
	return gate.ChannelUser
}
