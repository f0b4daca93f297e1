package session

import (
	"net/http"

	"sallyport.dev/sallyport/internal/secret"
)

// Names of the cookie. A browser takes the first over TLS only, from the host itself and for all of it (RFC 6265bis
// section 4.1.3.2), so no other site, sub-domain or plain connection can plant one. The second is for a console
// on plain HTTP, which is served on loopback only.
const (
	CookieName      = "__Host-sallyport"
	PlainCookieName = "sallyport-loopback"
)

// Cookie carries a token. It ends with the browser; the server ends it earlier.
func Cookie(token secret.String, tls bool) *http.Cookie {
	c := &http.Cookie{Name: CookieName, Value: token.Reveal(), Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if !tls {
		c.Name, c.Secure = PlainCookieName, false
	}
	return c
}

// ClearCookie takes the cookie away from the browser.
func ClearCookie(tls bool) *http.Cookie {
	c := Cookie(secret.String{}, tls)
	c.MaxAge = -1
	return c
}

// Token reads the token of a request. Over TLS the plain cookie counts for nothing; two cookies of the name
// are nobody's.
func Token(r *http.Request, tls bool) (secret.String, bool) {
	name := CookieName
	if !tls {
		name = PlainCookieName
	}
	cs := r.CookiesNamed(name)
	if len(cs) != 1 || cs[0].Value == "" {
		return secret.String{}, false
	}
	return secret.New(cs[0].Value), true
}
