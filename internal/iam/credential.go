package iam

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/http"
	"strings"
	"sync"
)

// credentialHeaders are where the official SDKs and Azure's put a credential, in canonical form.
var credentialHeaders = [...]string{"Authorization", "X-Api-Key", "Api-Key"}

// credential finds the one credential of a request. ok is false when it could be read in more
// than one way: a header given twice or as a list, or different credentials in different headers.
// The gateway and the provider could then each believe another one.
func credential(h http.Header) (cred string, ok bool) {
	for _, name := range credentialHeaders {
		vs := h[name]
		if len(vs) > 1 {
			return "", false
		}
		if len(vs) == 0 {
			continue
		}
		v := vs[0]
		if name == "Authorization" {
			v = bearer(v)
		}
		if v = strings.Trim(v, " \t"); v == "" {
			continue // SDKs send an empty one when none is configured
		}
		if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == ',' || r == 0x7f }) && !otherScheme(name, vs[0]) {
			return "", false
		}
		if cred != "" && cred != v {
			return "", false
		}
		cred = v
	}
	return cred, true
}

// bearer takes the scheme off (RFC 9110 section 11.4: in any case); another scheme stays as it is.
func bearer(v string) string {
	v = strings.Trim(v, " \t")
	const scheme = "bearer"
	if len(v) >= len(scheme) && strings.EqualFold(v[:len(scheme)], scheme) && (len(v) == len(scheme) || v[len(scheme)] == ' ' || v[len(scheme)] == '\t') {
		return v[len(scheme):]
	}
	return v
}

// otherScheme says whether an Authorization header uses a scheme that is not Bearer, such as
// Basic or a request signature, whose value may hold spaces and commas.
func otherScheme(name, v string) bool {
	if name != "Authorization" {
		return false
	}
	t := strings.Trim(v, " \t")
	return bearer(v) == t && strings.ContainsAny(t, " \t")
}

// credentialHasher names passed-through credentials. It takes no shared lock.
type credentialHasher struct{ macs sync.Pool }

func newCredentialHasher(key []byte) *credentialHasher {
	key = append([]byte(nil), key...)
	return &credentialHasher{sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

// name is "cred_" and 128 bits of HMAC-SHA256 in hexadecimal: enough that two credentials never
// share one, and worth nothing without the key.
func (c *credentialHasher) name(cred string) string {
	m := c.macs.Get().(hash.Hash)
	defer c.macs.Put(m)
	m.Reset()
	m.Write([]byte("sallyport credential\x00"))
	m.Write([]byte(cred))
	var sum [sha256.Size]byte
	return "cred_" + hex.EncodeToString(m.Sum(sum[:0])[:16])
}
