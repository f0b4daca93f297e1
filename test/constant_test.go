package test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Secrets are compared in a time that does not depend on them (OWASP ASVS 5.0.0, 11.2.4). A clock does not
// show it: 32 bytes are compared within the noise of any machine that others use. So the source is read: each
// of these functions calls what compares in constant time with both of what is compared, and compares
// neither in another way.
func TestSecretsAreComparedInConstantTime(t *testing.T) {
	for _, c := range []struct{ file, fn, a, b string }{
		{"internal/iam/apikey/hasher.go", "Equal", "h[:]", "o[:]"},

		{"internal/secret/secret.go", "Equal", "[]byte(s.Reveal())", "[]byte(t.Reveal())"},
		{"internal/iam/password/password.go", "Verify", "got", "want"},
		{"internal/iam/totp/totp.go", "Check", "[]byte(hotp(key, s, Digits))", "[]byte(code)"},
		{"internal/iam/recovery/recovery.go", "Spend", "h", "sum"},
		{"internal/iam/federation/pending.go", "Same", "[]byte(a)", "[]byte(b)"},
		{"internal/iam/recall/recall.go", "", "[]byte(b.sum(n))", "[]byte(n.MAC)"},
		{"internal/secret/envelope/rotate.go", "rewrap", "key[:]", "again[:]"},
		{"internal/store/backup/backup.go", "", "f.sum.Sum(nil)", "mac"},
	} {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, overlaid(t, "../"+c.file), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		text := func(n ast.Node) string {
			var b bytes.Buffer
			_ = printer.Fprint(&b, fset, n)
			return b.String()
		}
		bare := func(s string) string {
			return strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(s, "[]byte("), ")"), "[:]")
		}
		operands := []string{c.a, c.b, bare(c.a), bare(c.b)}
		calls, found := 0, false
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || c.fn != "" && fn.Name.Name != c.fn {
				continue
			}
			found = true
			ast.Inspect(fn, func(n ast.Node) bool {
				switch x := n.(type) {
				case *ast.CallExpr:
					name := text(x.Fun)
					if (name == "subtle.ConstantTimeCompare" || name == "hmac.Equal") && len(x.Args) == 2 && text(x.Args[0]) == c.a && text(x.Args[1]) == c.b {
						calls++
					}
					if name == "bytes.Equal" || name == "bytes.Compare" || name == "strings.EqualFold" || name == "slices.Equal" {
						t.Errorf("%s, %s: %s", c.file, fn.Name.Name, text(x))
					}
				case *ast.BinaryExpr:
					if x.Op != token.EQL && x.Op != token.NEQ {
						return true
					}
					for _, side := range []ast.Expr{x.X, x.Y} {
						s := text(side)
						s = strings.TrimSuffix(strings.TrimPrefix(s, "string("), ")")
						if other := text(x.Y) + text(x.X); slices.Contains(operands, s) && !strings.Contains(other, `""`) && !strings.Contains(other, "nil") {
							t.Errorf("%s, %s compares in another way: %s", c.file, fn.Name.Name, text(x))
						}
					}
				}
				return true
			})
		}
		if !found || calls != 1 {
			t.Errorf("%s, %s: %d comparisons of %s and %s in constant time, want one", c.file, c.fn, calls, c.a, c.b)
		}
	}
}

// overlaid is the file that the compiler was given for one of the tree (go build -overlay); see test/removal.
func overlaid(t *testing.T, file string) string {
	t.Helper()
	o := os.Getenv("SALLYPORT_TEST_OVERLAY")
	if o == "" {
		return file
	}
	b, err := os.ReadFile(o)
	if err != nil {
		t.Fatal(err)
	}
	var to struct{ Replace map[string]string }
	if err := json.Unmarshal(b, &to); err != nil {
		t.Fatal(err)
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	if r, ok := to.Replace[abs]; ok {
		return r
	}
	return file
}
