package iam

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/http"
	"slices"
	"strings"
	"sync"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam/apikey"
)

// credentialHeaders are where the official SDKs and Azure's put a credential, in canonical form.
var credentialHeaders = [...]string{"Authorization", "X-Api-Key", "Api-Key"}

// alsoStripped are headers by which another credential, or somebody's word on who the caller is or where,
// would reach a provider beside the gateway's own credential, which vouches for the call.
var alsoStripped = [...]string{
	"X-Goog-Api-Key", "Ocp-Apim-Subscription-Key",
	"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Real-Ip", "True-Client-Ip", "X-Client-Ip", "Cf-Connecting-Ip",
	"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username", "X-Forwarded-Access-Token",
	"X-Remote-User", "Remote-User", "X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Groups", "X-Authenticated-User",
	"X-Forwarded-Client-Cert", "X-Client-Cert", "X-Ssl-Client-Cert", "X-Ssl-Client-Dn", "Client-Cert", "Client-Cert-Chain",
}

// twin says whether a header name, in canonical form, is that of a credential to who takes _ for -, as CGI and what
// is like it do (RFC 3875 section 4.1.18), and not to us.
func twin(name string) bool {
	if strings.IndexByte(name, '_') < 0 {
		return false
	}
	plain := strings.ReplaceAll(name, "_", "-")
	for _, c := range credentialHeaders {
		if strings.EqualFold(plain, c) {
			return true
		}
	}
	return false
}

// stray finds a key of ours where none is looked for, so that it would leave with the call: in the target or
// in another header. Only a whole key, check included, is one.
func stray(x *gate.Exchange) bool {
	for k, vs := range x.Header {
		if slices.Contains(credentialHeaders[:], k) {
			continue
		}
		if slices.ContainsFunc(vs, apikey.In) {
			return true
		}
	}
	return apikey.In(x.Path) || apikey.In(x.Query)
}

// credential finds the one credential of a request. ok is false when it could be read in more
// than one way: a header given twice or as a list, different credentials in different headers, or one in a
// header whose name another would read as one of these. The gateway and the provider could then each
// believe another one.
func credential(h http.Header) (cred string, ok bool) {
	for name := range h {
		if twin(name) {
			return "", false
		}
	}
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
