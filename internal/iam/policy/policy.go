// Package policy decides, by conditions written in Cedar (cedarpolicy.com), whether a caller may make
// a call: over who calls, what is called, and the circumstances, of which some are known at once
// (time, network, how the caller proved who they are) and some only after inspection (data found).
//
// What it promises: nothing passes unless a permit says so; a forbid wins over every permit; a forbid
// that cannot be evaluated denies; a policy is checked against a schema when it is made, so that a
// misspelt name is an error; the policies of one tenant are never looked at for another; a decision
// takes no lock, asks no store, and reads one immutable snapshot.
//
// It does not know keys, sessions or stores. It never widens a credential's own scopes: those are
// checked before it.
package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Platform is the tenant whose policies are looked at for every tenant.
const Platform = "*"

// Policy is one document of Cedar text, of one tenant. It holds one statement or more. A statement is
// known by the policy's ID where it stands alone, by ID/name where it is annotated @id("name"), and
// by ID/2 and so on otherwise. Of the platform's it is platform/ID, of the built-in ones builtin/ID.
type Policy struct {
	ID     string
	Tenant string // Platform: for all
	Text   string
}

// Bounds of one policy. Cedar has no loops, so the time of a decision is bounded by them too.
const (
	MaxText       = 64 << 10
	MaxStatements = 200
	maxNodes      = 2000 // of one statement
	maxDepth      = 64   // of brackets
)

var (
	idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	reserved  = []string{"platform", "builtin"}
)

// statement is one permit or forbid, ready to be evaluated.
type statement struct {
	id        cedar.PolicyID
	text      *cedar.Policy
	bare      *cedar.Policy // its conditions alone: the head is tried before they are
	run       run           // the same, compiled; nil: only Cedar knows them
	tree      *xast.Policy
	forbid    bool
	needs     attrs // context attributes it names
	deferred  bool  // it names one that is known only after inspection
	looks     bool  // it matters which tool it is asked about
	actions   [actions]bool
	who, what head
}

// Check says what is wrong with a policy: nil, or Errors. A policy must pass before it is stored.
func Check(p Policy) error {
	_, err := parse(p, p.ID+".cedar")
	if err != nil {
		return err
	}
	return nil
}

// CheckFile is Check with the name of the file that errors point into.
func CheckFile(p Policy, file string) error {
	_, err := parse(p, file)
	if err != nil {
		return err
	}
	return nil
}

func parse(p Policy, file string) ([]*statement, error) {
	one := func(format string, a ...any) error {
		return Errors{{File: file, Policy: p.ID, Message: fmt.Sprintf(format, a...)}}
	}
	switch {
	case !idPattern.MatchString(p.ID) || slices.Contains(reserved, p.ID):
		return nil, Errors{{File: file, Message: "a policy's id is up to 64 of a-z, 0-9, ., _ and -, and not platform or builtin"}}
	case len(p.Text) > MaxText:
		return nil, one("longer than %d bytes", MaxText)
	}
	if line, col, deep := tooDeep(p.Text); deep {
		return nil, Errors{{File: file, Policy: p.ID, Line: line, Col: col, Message: fmt.Sprintf("brackets nested more than %d deep", maxDepth)}}
	}
	list, err := cedar.NewPolicyListFromBytes(file, []byte(p.Text))
	if err != nil {
		return nil, Errors{syntaxError(file, p.ID, err)}
	}
	if len(list) == 0 {
		return nil, one("no permit and no forbid in it")
	}
	if len(list) > MaxStatements {
		return nil, one("more than %d statements", MaxStatements)
	}
	var (
		out  []*statement
		errs Errors
		seen = map[cedar.PolicyID]bool{}
	)
	for i, c := range list {
		id, ok := statementID(p, c, i, len(list))
		end := len(p.Text)
		if i+1 < len(list) {
			end = list[i+1].Position().Offset
		}
		at := place{file: file, policy: string(id), text: p.Text, from: c.Position().Offset, to: end, line: c.Position().Line, col: c.Position().Column}
		if !ok {
			errs = append(errs, at.error(`@id is up to 64 of a-z, 0-9, ., _ and -`, ""))
		}
		if seen[id] {
			errs = append(errs, at.error("the id "+string(id)+" is given twice", ""))
		}
		seen[id] = true
		s, es := compile(c, id, at)
		errs = append(errs, es...)
		out = append(out, s)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return out, nil
}

func statementID(p Policy, c *cedar.Policy, i, n int) (cedar.PolicyID, bool) {
	id := p.ID
	if p.Tenant == Platform {
		id = "platform/" + id
	}
	if name, ok := c.Annotations()["id"]; ok {
		if !idPattern.MatchString(string(name)) {
			return cedar.PolicyID(fmt.Sprintf("%s/%d", id, i+1)), false
		}
		if n == 1 && string(name) == p.ID {
			return cedar.PolicyID(id), true
		}
		return cedar.PolicyID(id + "/" + string(name)), true
	}
	if n == 1 {
		return cedar.PolicyID(id), true
	}
	return cedar.PolicyID(fmt.Sprintf("%s/%d", id, i+1)), true
}

// named says whether a statement is the one that somebody means by name: its whole id, or what
// stands after a slash of it.
func named(id, name string) bool { return id == name || strings.HasSuffix(id, "/"+name) }

// tooDeep finds the bracket that is nested too deep. Parsing is recursive, so depth must be bounded
// before it. Text in quotes and comments does not count.
func tooDeep(text string) (line, col int, deep bool) {
	line, col = 1, 0
	depth, quoted, comment := 0, false, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		col++
		switch {
		case c == '\n':
			line, col, comment = line+1, 0, false
		case comment:
		case quoted:
			if c == '\\' {
				i++
				col++
			} else if c == '"' {
				quoted = false
			}
		case c == '"':
			quoted = true
		case c == '/' && i+1 < len(text) && text[i+1] == '/':
			comment = true
		case c == '(' || c == '[' || c == '{':
			if depth++; depth > maxDepth {
				return line, col, true
			}
		case c == ')' || c == ']' || c == '}':
			depth--
		}
	}
	return 0, 0, false
}
