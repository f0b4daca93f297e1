package proxy

import (
	"net/http"
	"net/textproto"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
)

// Connection-level fields that end at each hop (RFC 9110 7.6.1), with the two old ones that are
// still seen.
var hopByHop = []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// copyHeaders copies end-to-end fields, with every value of a field and its own slice.
func copyHeaders(dst, src http.Header) {
	named := connectionFields(src)
	for k, vs := range src {
		if isHopByHop(k) || named[k] {
			continue
		}
		dst[k] = append(dst[k], vs...)
	}
}

func isHopByHop(k string) bool {
	for _, h := range hopByHop {
		if k == h {
			return true
		}
	}
	return false
}

// connectionFields are the fields that Connection names.
func connectionFields(h http.Header) map[string]bool {
	var named map[string]bool
	for _, v := range h["Connection"] {
		for _, f := range strings.Split(v, ",") {
			f = textproto.CanonicalMIMEHeaderKey(textproto.TrimString(f))
			// A caller cannot have its own credential dropped on the way by naming it, nor what its body
			// was read by: the provider would read it in another way. No such field is one of a
			// connection (RFC 9110 7.6.1).
			if f == "" || f == "Close" || f == "Authorization" || f == "X-Api-Key" || f == "Api-Key" || strings.HasPrefix(f, "Content-") {
				continue
			}
			if named == nil {
				named = map[string]bool{}
			}
			named[f] = true
		}
	}
	return named
}

// upstreamHeaders makes the header that goes to the provider.
func (g *Gateway) upstreamHeaders(c *call) http.Header {
	h := make(http.Header, len(c.r.Header)+2)
	copyHeaders(h, c.r.Header)
	for k := range h {
		// Who reads _ for - must not get what was stripped by its right name.
		n := k
		if strings.IndexByte(k, '_') >= 0 {
			n = textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(k, "_", "-"))
		}
		if strings.HasPrefix(n, "Sallyport-") || strings.HasPrefix(n, "X-Sallyport-") || g.strip[n] {
			delete(h, k)
		}
	}
	up := c.up
	if cred := c.credential.Reveal(); cred != "" {
		h.Del("Authorization")
		h.Del("X-Api-Key")
		h.Del("Api-Key")
		if up.Dialect == gate.Anthropic {
			h.Set("X-Api-Key", cred)
		} else {
			h.Set("Authorization", "Bearer "+cred)
		}
	}
	for k, v := range up.Headers {
		h.Set(k, v.Reveal())
	}
	// An answer must be readable here; asking for it plain costs some bandwidth and no fidelity.
	h.Set("Accept-Encoding", "identity")
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // or net/http adds its own
	}
	if c.x.Changed {
		h.Del("Content-Encoding")
		h.Del("Content-Md5")
		h.Del("Digest")
		h.Del("Content-Digest")
	}
	h.Del("Content-Length") // set from the body itself
	h.Del("Expect")         // the body is already here
	return h
}
