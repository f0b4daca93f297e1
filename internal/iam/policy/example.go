package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Example is a call and what a policy must say of it. Examples live beside their policy: those of
// name.cedar in name.examples.yaml. A policy whose examples fail must not be put to use.
type Example struct {
	Name    string         `yaml:"name"`
	Request ExampleRequest `yaml:"request"`
	Want    string         `yaml:"want"` // allow or deny
	By      string         `yaml:"by"`   // the statement that decides; empty: any, or none
	line    int
	col     int
}

// ExampleRequest is a question as people write it. What is left out is as in the zero Request, but:
// the action is call, the time is noon on a Monday, and the credential's scopes allow the call. As
// soon as something that inspection finds is given, inspection has been.
type ExampleRequest struct {
	Principal ExampleWho      `yaml:"principal"`
	Action    string          `yaml:"action"`
	Resource  ExampleResource `yaml:"resource"`
	Context   ExampleContext  `yaml:"context"`
}

// ExampleWho is a Who.
type ExampleWho struct {
	Kind       string      `yaml:"kind"`
	ID         string      `yaml:"id"`
	Name       string      `yaml:"name"`
	Teams      []string    `yaml:"teams"`
	Roles      []string    `yaml:"roles"`
	Groups     []string    `yaml:"groups"`
	Class      string      `yaml:"class"`
	Purpose    string      `yaml:"purpose"`
	Owner      *ExampleWho `yaml:"owner"`
	OnBehalfOf *ExampleWho `yaml:"on_behalf_of"`
}

// ExampleResource is what is called.
type ExampleResource struct {
	Upstream string `yaml:"upstream"`
	Endpoint string `yaml:"endpoint"`
	Model    string `yaml:"model"`
	Tool     string `yaml:"tool"`
}

// ExampleContext is the circumstances.
type ExampleContext struct {
	Time          string   `yaml:"time"` // RFC 3339
	IP            string   `yaml:"ip"`
	Networks      []string `yaml:"networks"`
	AMR           []string `yaml:"amr"`
	MFAAge        *int64   `yaml:"mfa_age"` // seconds
	ScopesGranted *bool    `yaml:"scopes_granted"`
	ModelFree     bool     `yaml:"model_free"`
	Streamed      bool     `yaml:"streamed"`
	Bytes         int64    `yaml:"bytes"`
	Channels      []string `yaml:"channels"`
	DataClasses   []string `yaml:"data_classes"`
	Attacks       []string `yaml:"attacks"`
	FoundIn       []string `yaml:"found_in"`
	Risk          *int     `yaml:"risk"`
	Unread        *bool    `yaml:"unread"`
}

// ExampleTenant is the tenant that examples play in.
const ExampleTenant = "example"

const (
	maxExamples = 1000
	maxYAML     = 256 << 10
	maxLine     = 4 << 10
	maxLines    = 20_000
)

var exampleTime = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC) // a Monday

// ParseExamples reads a file of examples. It is strict: an unknown or repeated key, an anchor, an alias
// or a tag is an error. The error is Errors.
func ParseExamples(file string, data []byte) (out []Example, err error) {
	fail := func(pos *token.Position, format string, a ...any) Errors {
		e := &Error{File: file, Message: fmt.Sprintf(format, a...)}
		if pos != nil {
			e.Line, e.Col = max(pos.Line, 1), max(pos.Column, 1)
		}
		return Errors{e}
	}
	defer func() { // the YAML library must not end a gateway that reads an example
		if r := recover(); r != nil {
			out, err = nil, fail(nil, "not valid YAML")
		}
	}()
	if len(data) > maxYAML || !utf8.Valid(data) {
		return nil, fail(nil, "expected at most %d bytes of UTF-8 text", maxYAML)
	}
	// What YAML readers differ about, and what ours is slow with, is not let in.
	line := 0
	for l := range strings.Lines(string(data)) {
		line++
		i := strings.IndexFunc(strings.TrimRight(l, "\r\n"), func(r rune) bool {
			return r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 || r == 0xfeff
		})
		if i >= 0 || len(l) > maxLine || line > maxLines {
			return nil, fail(&token.Position{Line: line, Column: max(i, 0) + 1}, "expected at most %d lines of at most %d printable bytes, without tabs", maxLines, maxLine)
		}
	}
	toks := lexer.Tokenize(string(data))
	if pos, msg := unfit(toks); pos != nil {
		return nil, fail(pos, "%s", msg)
	}
	f, perr := parser.Parse(toks, 0)
	if perr != nil {
		return nil, fail(whereYAML(perr), "not valid YAML: %s", wordsYAML(perr))
	}
	var list *ast.SequenceNode
	for _, doc := range f.Docs {
		if _, comment := doc.Body.(*ast.CommentGroupNode); comment || doc.Body == nil {
			continue
		}
		seq, ok := doc.Body.(*ast.SequenceNode)
		if !ok || list != nil {
			return nil, fail(doc.Body.GetToken().Position, "expected one list of examples")
		}
		list = seq
	}
	if list == nil || len(list.Values) == 0 || len(list.Values) > maxExamples {
		return nil, fail(nil, "expected a list of 1 to %d examples", maxExamples)
	}
	var errs Errors
	for _, n := range list.Values {
		pos := n.GetToken().Position
		if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
			pos = m.Values[0].Key.GetToken().Position
		}
		var e Example
		if derr := yaml.NodeToValue(n, &e, yaml.Strict()); derr != nil {
			if p := whereYAML(derr); p != nil {
				pos = p
			}
			errs = append(errs, fail(pos, "%s", wordsYAML(derr))...)
			continue
		}
		e.line, e.col = pos.Line, pos.Column
		if msg := e.check(); msg != "" {
			errs = append(errs, fail(pos, "example %q: %s", e.Name, msg)...)
		}
		out = append(out, e)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return out, nil
}

func whereYAML(err error) *token.Position {
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil {
		return y.GetToken().Position
	}
	return nil
}

func wordsYAML(err error) string {
	var y yaml.Error
	if errors.As(err, &y) {
		return y.GetMessage()
	}
	return "the text cannot be read here"
}

func (e *Example) check() string {
	if e.Name == "" {
		return "it needs a name"
	}
	if e.Want != "allow" && e.Want != "deny" {
		return "want is allow or deny"
	}
	if _, err := e.Request.Request(); err != nil {
		return err.Error()
	}
	return ""
}

func (w *ExampleWho) who() *Who {
	if w == nil {
		return nil
	}
	return &Who{Kind: Kind(w.Kind), ID: w.ID, Name: w.Name, Tenant: ExampleTenant, Teams: w.Teams, Roles: w.Roles, Groups: w.Groups,
		Class: w.Class, Purpose: w.Purpose, Owner: w.Owner.who(), OnBehalfOf: w.OnBehalfOf.who()}
}

// Request is the example as a question.
func (x *ExampleRequest) Request() (*Request, error) {
	p, err := NewPrincipal(*x.Principal.who())
	if err != nil {
		return nil, err
	}
	if x.Action == "" {
		x.Action = Call.String()
	}
	a, ok := ParseAction(x.Action)
	if !ok {
		return nil, fmt.Errorf("there is no action %q", x.Action)
	}
	c := &x.Context
	r := &Request{Principal: p, Action: a, Upstream: x.Resource.Upstream, Endpoint: x.Resource.Endpoint, Model: x.Resource.Model, Tool: x.Resource.Tool, Final: true,
		Circumstances: Circumstances{Time: exampleTime, ScopesGranted: true, Networks: c.Networks, AMR: c.AMR, ModelFree: c.ModelFree,
			Streamed: c.Streamed, Bytes: c.Bytes, Channels: c.Channels}}
	if c.Time != "" {
		if r.Time, err = time.Parse(time.RFC3339, c.Time); err != nil {
			return nil, fmt.Errorf("context.time: expected a time such as 2026-01-05T12:00:00Z")
		}
	}
	if c.IP != "" {
		if r.IP, err = netip.ParseAddr(c.IP); err != nil {
			return nil, fmt.Errorf("context.ip: expected an address")
		}
	}
	if c.MFAAge != nil {
		if *c.MFAAge < 0 || *c.MFAAge > 1e9 {
			return nil, fmt.Errorf("context.mfa_age: expected seconds")
		}
		r.MFA = r.Time.Add(-time.Duration(*c.MFAAge) * time.Second)
	}
	if c.ScopesGranted != nil {
		r.ScopesGranted = *c.ScopesGranted
	}
	if c.DataClasses != nil || c.Attacks != nil || c.FoundIn != nil || c.Risk != nil || c.Unread != nil {
		r.Inspected = &Inspected{DataClasses: c.DataClasses, Attacks: c.Attacks, FoundIn: c.FoundIn}
		if c.Risk != nil {
			r.Inspected.Risk = *c.Risk
		}
		if c.Unread != nil {
			r.Inspected.Unread = *c.Unread
		}
	}
	return r, nil
}

// Failure is an example that did not come out as it should.
type Failure struct {
	Example string   `json:"example"`
	Line    int      `json:"line"`
	Col     int      `json:"col"`
	Want    string   `json:"want"`
	By      string   `json:"by,omitzero"`
	Got     Decision `json:"got"`
}

// Try tries a policy's examples: the policy alone where it permits something, and beside the built-in
// ones where it only forbids. The error says that the policy itself cannot be read.
func Try(p Policy, examples []Example) ([]Failure, error) {
	s, err := Alone(p)
	if err != nil {
		return nil, err
	}
	var out []Failure
	for i := range examples {
		e := &examples[i]
		r, err := e.Request.Request()
		if err != nil {
			return nil, err
		}
		d := s.Decide(r)
		by := e.By == ""
		for _, id := range d.Policies {
			by = by || named(id, e.By)
		}
		if d.Allow != (e.Want == "allow") || !by || d.Closed {
			out = append(out, Failure{Example: e.Name, Line: e.line, Col: e.col, Want: e.Want, By: e.By, Got: d})
		}
	}
	return out, nil
}

// Alone is a set for ExampleTenant with one policy, and the built-in ones if it permits nothing itself.
func Alone(p Policy) (*Set, error) {
	p.Tenant = ExampleTenant
	ss, err := parse(p, p.ID+".cedar")
	if err != nil {
		return nil, err
	}
	permits := false
	for _, st := range ss {
		permits = permits || !st.forbid
	}
	return NewSet([]Policy{p}, map[string]Tenant{ExampleTenant: {NoBase: permits}}), nil
}
