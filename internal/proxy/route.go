package proxy

import (
	"net/http"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam/apikey"
	"sallyport.dev/sallyport/internal/wire"
)

// Reserved begins the gateway's own paths. They are never forwarded, also where nothing answers at them: a
// person's token that was sent to an exchange that is switched off must not reach a provider. No upstream
// can be called "-", and no provider's interface begins so.
const Reserved = "/-/"

// route finds the upstream of a request and the escaped path it has there. A first path element
// that is an upstream's name chooses that upstream and is stripped; else the dialect of the path
// does; a lone upstream takes all. ok is false when nothing takes it.
func (g *Gateway) route(r *http.Request) (up *Upstream, path string, ok bool) {
	path = escapedPath(r)
	if strings.HasPrefix(path, Reserved) {
		return nil, path, false
	}
	if name, rest, found := strings.Cut(strings.TrimPrefix(path, "/"), "/"); found {
		if u := g.byName[name]; u != nil {
			return u, "/" + rest, true
		}
	}
	if len(g.o.Upstreams) == 1 {
		return &g.o.Upstreams[0], path, true
	}
	if !strings.HasPrefix(path, "/v1/") {
		return nil, path, false
	}
	u := g.byDialect[wire.DialectOf(r.Method, path, r.Header)]
	return u, path, u != nil
}

// escapedPath is the path exactly as the caller wrote it: no cleaning, no merging of slashes, %2F kept.
func escapedPath(r *http.Request) string {
	p := r.RequestURI
	if i := strings.IndexByte(p, '?'); i >= 0 {
		p = p[:i]
	}
	if strings.HasPrefix(p, "/") {
		return p
	}
	return r.URL.EscapedPath() // absolute-form, which headguard has checked, or "*"
}

// recorded is the path as the record keeps it: of one that holds a key of ours, nothing.
func recorded(path string) string {
	if apikey.In(path) {
		return ""
	}
	return path
}

// dotted says whether a path has an element . or .., written plainly or encoded: the provider may
// resolve it and serve another endpoint than the one that was decided about (RFC 3986 5.2.4). A
// backslash is such an element's separator to some servers.
func dotted(path string) bool {
	if strings.ContainsAny(path, "\\\x00") || strings.Contains(strings.ToLower(path), "%5c") {
		return true
	}
	if !strings.Contains(path, ".") && !strings.Contains(strings.ToLower(path), "%2e") {
		return false
	}
	for _, e := range strings.FieldsFunc(strings.NewReplacer("%2e", ".", "%2E", ".", "%2f", "/", "%2F", "/").Replace(path), func(r rune) bool { return r == '/' }) {
		if e, _, _ = strings.Cut(e, ";"); e == "." || e == ".." {
			return true
		}
	}
	return false
}

// dialectOf is the dialect a refusal is worded in when no upstream was found.
func (g *Gateway) dialectOf(r *http.Request, up *Upstream) wire.Dialect {
	if up != nil {
		return g.o.Dialects[up.Dialect]
	}
	if d := g.o.Dialects[wire.DialectOf(r.Method, escapedPath(r), r.Header)]; d != nil {
		return d
	}
	return g.o.Dialects[gate.OpenAI]
}
