package config

import (
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/secret"
)

var (
	namePattern = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)
	headerName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,99}$`)
	envName     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
)

// scalars reads each type of setting that is not a mapping or a list. A reader returns what was
// expected, or "" when the value was good.
var scalars = map[reflect.Type]func(ast.Node, reflect.Value) string{
	reflect.TypeFor[string]():         scanWith(scanText),
	reflect.TypeFor[bool]():           scanWith(scanBool),
	reflect.TypeFor[int]():            scanWith(scanInt),
	reflect.TypeFor[float64]():        scanWith(scanShare),
	reflect.TypeFor[Size]():           scanWith(scanSize),
	reflect.TypeFor[time.Duration]():  scanWith(scanDuration),
	reflect.TypeFor[netip.Prefix]():   scanWith(scanPrefix),
	reflect.TypeFor[secret.Ref]():     scanWith(scanRef),
	reflect.TypeFor[gate.Action]():    scanWith(words("an action", gate.ParseAction, gate.Allow, gate.Flag, gate.Sanitize, gate.Block)),
	reflect.TypeFor[gate.Channel]():   scanWith(words("a channel", gate.ParseChannel, gate.Channels()...)),
	reflect.TypeFor[gate.Direction](): scanWith(words("a direction", gate.ParseDirection, gate.Request, gate.Answer)),
	reflect.TypeFor[gate.Category]():  scanWith(words("a category", parseCategory, gate.Categories()...)),
	reflect.TypeFor[gate.Dialect]():   scanWith(words("a dialect", parseDialect, gate.OpenAI, gate.Anthropic)),
}

func scanWith[T any](scan func(ast.Node, *T) string) func(ast.Node, reflect.Value) string {
	return func(n ast.Node, v reflect.Value) string { return scan(n, v.Addr().Interface().(*T)) }
}

// text is a scalar that is text in YAML; numbers and booleans do not turn into text.
func text(n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	}
	return "", false
}

func scanText(n ast.Node, v *string) string {
	s, ok := text(n)
	if !ok {
		return "expected text; put other values in quotes"
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "expected text on one line, without control characters"
	}
	*v = s
	return ""
}

// share is how a share may be written: not in the other ways YAML has for a number.
var share = regexp.MustCompile(`^[01](\.[0-9]{1,9})?$`)

func scanShare(n ast.Node, v *float64) string {
	switch n.(type) {
	case *ast.FloatNode, *ast.IntegerNode:
		if s := n.GetToken().Value; share.MatchString(s) {
			f, err := strconv.ParseFloat(s, 64)
			if err == nil && f <= 1 {
				*v = f
				return ""
			}
		}
	}
	return "expected a share from 0 to 1, such as 0.005"
}

func scanBool(n ast.Node, v *bool) string {
	b, ok := n.(*ast.BoolNode)
	if !ok || (b.Token.Value != "true" && b.Token.Value != "false") {
		return "expected true or false"
	}
	*v = b.Value
	return ""
}

func scanInt(n ast.Node, v *int) string {
	const want = "expected a whole number that is not negative"
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		return want
	}
	x, err := parseWhole(i.Token.Value)
	if err != nil || x > 1<<31-1 {
		return want
	}
	*v = int(x)
	return ""
}

func scanSize(n ast.Node, v *Size) string {
	s, ok := text(n)
	if i, isInt := n.(*ast.IntegerNode); isInt {
		s, ok = i.Token.Value, true
	}
	if !ok {
		return errSize.Error()
	}
	x, err := ParseSize(s)
	if err != nil {
		return err.Error()
	}
	*v = x
	return ""
}

func scanDuration(n ast.Node, v *time.Duration) string {
	const want = "expected a duration with its unit that is not negative, such as 500ms, 5s or 10m"
	s, ok := text(n)
	if !ok {
		return want
	}
	x, err := time.ParseDuration(s)
	if err != nil || x < 0 || strings.HasPrefix(s, "+") || strings.HasPrefix(s, "-") {
		return want
	}
	*v = x
	return ""
}

func scanPrefix(n ast.Node, v *netip.Prefix) string {
	const want = "expected an address range such as 10.0.0.0/8 or ::1/128"
	s, ok := text(n)
	if !ok {
		return want
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return want
	}
	if p.Addr().Is4In6() {
		return "expected an IPv4 range in IPv4 form"
	}
	if p != p.Masked() {
		return "bits are set beyond the prefix length; expected " + p.Masked().String()
	}
	*v = p
	return ""
}

// scanRef reads {env: NAME} or {file: PATH}. Whatever else stands there may be the secret itself.
func scanRef(n ast.Node, v *secret.Ref) string {
	const want = "expected a reference to the secret, not the secret itself: {env: NAME} or {file: PATH}"
	var pairs []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		pairs = m.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{m}
	}
	if len(pairs) != 1 {
		return want
	}
	k, ok := pairs[0].Key.(*ast.StringNode)
	s, isText := text(pairs[0].Value)
	if !ok || !isText {
		return want
	}
	switch {
	case k.Value == "env" && envName.MatchString(s):
		*v = secret.Ref{Env: s}
	case k.Value == "env":
		return "expected the name of an environment variable in {env: NAME}"
	case k.Value == "file" && validPath(s):
		*v = secret.Ref{File: s}
	case k.Value == "file":
		return "expected a path in {file: PATH}; ~ is not expanded"
	default:
		return want
	}
	return ""
}

func scanHeaderValue(n ast.Node, v *HeaderValue) string {
	s, ok := text(n)
	if !ok {
		if scanRef(n, &v.Ref) != "" {
			return "expected text, {env: NAME} or {file: PATH}; put numbers in quotes"
		}
		return ""
	}
	if s == "" || strings.TrimSpace(s) != s || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "expected a header value of printable ASCII, without spaces around it"
	}
	v.Value = s
	return ""
}

// words reads one of a few words.
func words[T interface{ ~string | ~uint8 }](what string, parse func(string) (T, bool), all ...T) func(ast.Node, *T) string {
	names := make([]string, len(all))
	for i, a := range all {
		names[i] = wordOf(a)
	}
	want := "expected " + what + ": " + oneOf(names)
	return func(n ast.Node, v *T) string {
		s, ok := text(n)
		if !ok {
			return want
		}
		x, ok := parse(s)
		if !ok {
			return printable(s) + " is not " + what + "; " + want
		}
		*v = x
		return ""
	}
}

func parseCategory(s string) (gate.Category, bool) {
	for _, c := range gate.Categories() {
		if string(c) == s {
			return c, true
		}
	}
	return "", false
}

func parseDialect(s string) (gate.Dialect, bool) {
	d := gate.Dialect(s)
	return d, d == gate.OpenAI || d == gate.Anthropic
}

// validPath refuses what is likely not meant as a path: nothing, a home shorthand, a key's text.
func validPath(s string) bool {
	return s != "" && !strings.HasPrefix(s, "~") && !strings.HasPrefix(s, "-----") && len(s) <= 4096 &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
