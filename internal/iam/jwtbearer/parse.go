package jwtbearer

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/strictjson"
)

func refuse(reason string) error { return &iam.Refusal{Reason: reason} }

// Why a token is refused, for the record.
var (
	errForm      = refuse("token: not three parts of base64url, or too long")
	errHeader    = refuse("token: the header cannot be read in one way")
	errForeign   = refuse("token: the header names a key, a critical extension or a content type")
	errAlg       = refuse("token: algorithm not accepted")
	errClaims    = refuse("token: the claims cannot be read in one way")
	errIssuer    = refuse("token: unknown issuer")
	errAudience  = refuse("token: for another audience")
	errTimes     = refuse("token: exp or iat is missing or no time")
	errExpired   = refuse("token: expired")
	errEarly     = refuse("token: not valid yet")
	errLong      = refuse("token: lives longer than accepted")
	errSubject   = refuse("token: sub is missing or not printable")
	errKey       = refuse("token: unknown key")
	errSignature = refuse("token: wrong signature")
	errRule      = refuse("token: no rule fits")
	errActor     = refuse("token: act or may_act cannot be read")
	errScope     = refuse("token: scope is missing or wider than accepted")
	errRevoked   = refuse("token: revoked")
)

// Bounds of the parts.
const (
	maxHeader    = 4 << 10
	maxAudiences = 32
)

// header is the part of a JOSE header that counts.
type header struct{ alg, kid string }

// parts splits a compact token (RFC 7515 section 7.1) and decodes the first two parts. The alphabet
// is checked first, since the decoder passes over line breaks.
func parts(token string) (head, claims []byte, err error) {
	if len(token) > iam.MaxToken {
		return nil, nil, errForm
	}
	h, rest, _ := strings.Cut(token, ".")
	c, sig, ok := strings.Cut(rest, ".")
	if !ok || h == "" || c == "" || sig == "" || len(h) > maxHeader || !base64url(h) || !base64url(c) || !base64url(sig) {
		return nil, nil, errForm
	}
	b64 := base64.RawURLEncoding.Strict()
	if head, err = b64.DecodeString(h); err != nil {
		return nil, nil, errForm
	}
	if claims, err = b64.DecodeString(c); err != nil {
		return nil, nil, errForm
	}
	if _, err = b64.DecodeString(sig); err != nil {
		return nil, nil, errForm
	}
	return head, claims, nil
}

func base64url(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// foreign are members that would have the token say where its key is, that it must be understood in
// another way, or that it holds another token (RFC 7515 section 4.1, RFC 7516, RFC 7797). Whatever
// they hold, a token with one of them is refused.
var foreign = []string{"jku", "jwk", "x5u", "x5c", "crit", "b64", "enc", "zip", "cty", "epk"}

// parseHeader reads a header. Each name must stand once, in one case.
func parseHeader(raw []byte) (header, error) {
	d, err := strictjson.Parse(raw, strictjson.Limits{Depth: 4, Nodes: 64, Key: 64, Num: 32})
	if err != nil || d.Kind(strictjson.Root) != strictjson.Object {
		return header{}, errHeader
	}
	var h header
	for i := range d.Children(strictjson.Root) {
		name := string(d.Key(i))
		switch strings.ToLower(name) {
		case "alg", "kid", "typ":
			if d.Kind(i) != strictjson.String || name != strings.ToLower(name) {
				return header{}, errHeader
			}
		}
		switch name {
		case "alg":
			h.alg = d.Str(i)
		case "kid":
			h.kid = d.Str(i)
		case "typ":
			// RFC 8725 section 3.11: a token of another kind, such as a logout token, is no access token.
			switch t := strings.ToLower(d.Str(i)); strings.TrimPrefix(t, "application/") {
			case "jwt", "at+jwt":
			default:
				return header{}, errForeign
			}
		}
		if slices.Contains(foreign, strings.ToLower(name)) {
			return header{}, errForeign
		}
	}
	if h.alg == "" || h.kid == "" {
		return header{}, errHeader
	}
	return h, nil
}

func parseClaims(raw []byte) (*strictjson.Doc, error) {
	d, err := strictjson.Parse(raw, strictjson.Limits{Depth: 16, Nodes: 4096, Key: 256, Num: 32})
	if err != nil || d.Kind(strictjson.Root) != strictjson.Object {
		return nil, errClaims
	}
	return d, nil
}

// times are what a token says of its own life.
type times struct{ issued, notBefore, expires time.Time }

// numericDate reads a NumericDate (RFC 7519 section 2), whole seconds, rounded down.
func numericDate(d *strictjson.Doc, name string) (time.Time, bool) {
	at := d.Get(strictjson.Root, name)
	if d.Kind(at) != strictjson.Number {
		return time.Time{}, false
	}
	f, err := strconv.ParseFloat(string(d.Value(at)), 64)
	if err != nil || f < 0 || f > 253402300799 { // the end of the year 9999
		return time.Time{}, false
	}
	return time.Unix(int64(math.Floor(f)), 0).UTC(), true
}

func parseTimes(d *strictjson.Doc) (t times, err error) {
	var ok, ok2 bool
	t.expires, ok = numericDate(d, "exp")
	t.issued, ok2 = numericDate(d, "iat")
	if !ok || !ok2 || !t.expires.After(t.issued) {
		return t, errTimes
	}
	if d.Get(strictjson.Root, "nbf") >= 0 {
		if t.notBefore, ok = numericDate(d, "nbf"); !ok {
			return t, errTimes
		}
	}
	return t, nil
}

// check says whether the token is valid at this moment. skew is what two clocks may differ by.
func (t times) check(now time.Time, skew, longest time.Duration) error {
	switch {
	case t.expires.Sub(t.issued) > longest:
		return errLong
	case !now.Before(t.expires.Add(skew)):
		return errExpired
	case now.Before(t.notBefore.Add(-skew)) || now.Before(t.issued.Add(-skew)):
		return errEarly
	}
	return nil
}

// audience says whether the token is for one of ours. aud is a text or a list of texts.
func audience(d *strictjson.Doc, ours []string) bool {
	at := d.Get(strictjson.Root, "aud")
	switch d.Kind(at) {
	case strictjson.String:
		return slices.Contains(ours, d.Str(at))
	case strictjson.Array:
		if d.Nodes[at].Len > maxAudiences {
			return false
		}
		found := false
		for i := range d.Children(at) {
			if d.Kind(i) != strictjson.String {
				return false
			}
			found = found || slices.Contains(ours, d.Str(i))
		}
		return found
	}
	return false
}

// text reads a claim that is a printable text of at most limit bytes; missing gives "", true.
func text(d *strictjson.Doc, at int, name string, limit int) (string, bool) {
	i := d.Get(at, name)
	if i < 0 {
		return "", true
	}
	s := d.Str(i)
	return s, s != "" && len(s) <= limit && printable(s)
}
