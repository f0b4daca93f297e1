package jwtbearer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/jwks"
)

var ctx = context.Background()

// refused is the reason why a token is refused; "" when it is accepted.
func refused(t testing.TB, v *Verifier, token string) string {
	t.Helper()
	id, err := v.Verify(ctx, token)
	if err == nil {
		if id == nil || id.ID == "" {
			t.Fatal("no identity and no error")
		}
		return ""
	}
	r, ok := errors.AsType[*iam.Refusal](err)
	if !ok || id != nil {
		t.Fatalf("%v, %v", id, err)
	}
	return r.Reason
}

func reason(err error) string { return err.(*iam.Refusal).Reason }

func TestIdentity(t *testing.T) {
	w := newWorld(t)
	id, err := w.Verify(ctx, w.a.token(t))
	if err != nil {
		t.Fatal(err)
	}
	if id.ID != "a:agent-1" || id.Issuer != "a" || id.Subject != "agent-1" || id.Kind != iam.KindAgent || id.Tenant != "acme" || id.Team != "core" ||
		id.Token != "a:1" || !id.Expires.Equal(start.Add(10*time.Minute)) || id.OnBehalfOf != "" || id.Scopes.Void() {
		t.Errorf("%+v", id)
	}
	for name, k := range map[string]keypair{"RS256": w.rsaA} {
		if r := refused(t, w.Verifier, k.token(t)); r != "" {
			t.Errorf("%s: %s", name, r)
		}
	}
	// B's subject of the same name is somebody else.
	if id, err := w.Verify(ctx, w.b.token(t, "iss", "https://b.example")); err != nil || id.ID != "b:agent-1" {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestClaims(t *testing.T) {
	long := strings.Repeat("x", maxSubject+1)
	many := make([]string, maxAudiences+1)
	for i := range many {
		many[i] = "sallyport"
	}
	at := func(d time.Duration) int64 { return start.Add(d).Unix() }
	for name, c := range map[string]struct {
		edit []any
		want error
	}{
		"good":                          {nil, nil},
		"one of two audiences":          {[]any{"aud", []string{"other", "sallyport-2"}}, nil},
		"another audience":              {[]any{"aud", "other"}, errAudience},
		"audience in another case":      {[]any{"aud", "Sallyport"}, errAudience},
		"audience longer":               {[]any{"aud", "sallyport/"}, errAudience},
		"no audience":                   {[]any{"aud", nil}, errAudience},
		"audience empty":                {[]any{"aud", ""}, errAudience},
		"audience a list of nothing":    {[]any{"aud", []string{}}, errAudience},
		"audience an object":            {[]any{"aud", claims{"sallyport": 1}}, errAudience},
		"audience with a number":        {[]any{"aud", []any{"sallyport", 1}}, errAudience},
		"many audiences":                {[]any{"aud", many}, errAudience},
		"issuer with a slash":           {[]any{"iss", "https://a.example/"}, errIssuer},
		"issuer in another case":        {[]any{"iss", "https://A.example"}, errIssuer},
		"no issuer":                     {[]any{"iss", nil}, errIssuer},
		"issuer a list":                 {[]any{"iss", []string{"https://a.example"}}, errIssuer},
		"issuer by our name":            {[]any{"iss", "a"}, errIssuer},
		"no subject":                    {[]any{"sub", nil}, errSubject},
		"subject empty":                 {[]any{"sub", ""}, errSubject},
		"subject a number":              {[]any{"sub", 1}, errSubject},
		"subject too long":              {[]any{"sub", "agent-" + long}, errSubject},
		"subject with a line break":     {[]any{"sub", "agent-1\nadmin"}, errSubject},
		"subject with an escape":        {[]any{"sub", "agent-\x1b[2J"}, errSubject},
		"subject of letters alike":      {[]any{"sub", "agent-\u0430"}, errSubject},
		"subject of no rule":            {[]any{"sub", "user-1"}, errRule},
		"subject with a rule's star":    {[]any{"sub", "AGENT-1"}, errRule},
		"no exp":                        {[]any{"exp", nil}, errTimes},
		"exp a text":                    {[]any{"exp", "2031"}, errTimes},
		"exp negative":                  {[]any{"exp", -1}, errTimes},
		"exp beyond all":                {[]any{"exp", 1e300}, errTimes},
		"exp a list":                    {[]any{"exp", []int{1}}, errTimes},
		"no iat":                        {[]any{"iat", nil}, errTimes},
		"iat after exp":                 {[]any{"iat", at(11 * time.Minute)}, errTimes},
		"nbf a text":                    {[]any{"nbf", "soon"}, errTimes},
		"exp of a fraction":             {[]any{"exp", float64(at(time.Minute)) + .5}, nil},
		"nbf in the future":             {[]any{"nbf", at(61 * time.Second)}, errEarly},
		"nbf within the skew":           {[]any{"nbf", at(60 * time.Second)}, nil},
		"no nbf":                        {[]any{"nbf", nil}, nil},
		"iat in the future":             {[]any{"iat", at(61 * time.Second), "exp", at(20 * time.Minute)}, errEarly},
		"lives an hour":                 {[]any{"exp", at(time.Hour)}, nil},
		"lives an hour and a second":    {[]any{"exp", at(time.Hour + time.Second)}, errLong},
		"lives for ever":                {[]any{"exp", at(100 * 365 * 24 * time.Hour)}, errLong},
		"expired at the skew":           {[]any{"iat", at(-2 * time.Minute), "nbf", nil, "exp", at(-60 * time.Second)}, errExpired},
		"expired within the skew":       {[]any{"iat", at(-2 * time.Minute), "nbf", nil, "exp", at(-59 * time.Second)}, nil},
		"no jti":                        {[]any{"jti", nil}, nil},
		"jti a number":                  {[]any{"jti", 1}, errClaims},
		"an actor that we cannot judge": {[]any{"act", claims{"sub": "x"}}, errActor},
		"may_act":                       {[]any{"may_act", claims{"sub": "x"}}, nil},
		"may_act of unknown members":    {[]any{"may_act", claims{"sub": "x", "client_id": "y"}}, errActor},
		"may_act a text":                {[]any{"may_act", "x"}, errActor},
		"may_act of nobody":             {[]any{"may_act", claims{"iss": "x"}}, errActor},
		"huge claims":                   {[]any{"x", strings.Repeat("x", iam.MaxToken)}, errForm},
		"many claims":                   {[]any{"x", make([]int, 4096)}, errClaims},
		"deep claims":                   {[]any{"x", json.RawMessage(strings.Repeat("[", 40) + strings.Repeat("]", 40))}, errClaims},
	} {
		w := newWorld(t)
		want := ""
		if c.want != nil {
			want = reason(c.want)
		}
		for range 2 { // also when it may be known already
			if got := refused(t, w.Verifier, w.a.token(t, c.edit...)); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	}
}

// What stands twice, or in two cases, or in another form, is refused although it is signed.
func TestFormConfusion(t *testing.T) {
	w := newWorld(t)
	good := w.a.token(t)
	h, b := w.a.head(), body()
	parts := strings.Split(good, ".")
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"header member twice":          {w.a.sign(t, `{"alg":"ES256","kid":"k1","kid":"k1"}`, b), errHeader},
		"header member twice, escaped": {w.a.sign(t, `{"alg":"ES256","kid":"k1","\u0061lg":"none"}`, b), errHeader},
		"header member in two cases":   {w.a.sign(t, `{"alg":"ES256","kid":"k1","ALG":"none"}`, b), errHeader},
		"header with text after":       {w.a.sign(t, h+"{}", b), errHeader},
		"header a list":                {w.a.sign(t, `["ES256"]`, b), errHeader},
		"header too long":              {w.a.sign(t, w.a.head("x", strings.Repeat("x", maxHeader)), b), errForm},
		"kid a number":                 {w.a.sign(t, w.a.head("kid", 1), b), errHeader},
		"no kid":                       {w.a.sign(t, w.a.head("kid", nil), b), errHeader},
		"kid a path":                   {w.a.sign(t, w.a.head("kid", "../../k1"), b), errKey},
		"kid of SQL":                   {w.a.sign(t, w.a.head("kid", "k1' OR '1'='1"), b), errKey},
		"kid in another case":          {w.a.sign(t, w.a.head("kid", "K1"), b), errKey},
		"no alg":                       {w.a.sign(t, w.a.head("alg", nil), b), errHeader},
		"alg a list":                   {w.a.sign(t, w.a.head("alg", []string{"ES256"}), b), errHeader},
		"typ of a logout token":        {w.a.sign(t, w.a.head("typ", "logout+jwt"), b), errForeign},
		"typ of an access token":       {w.a.sign(t, w.a.head("typ", "application/at+jwt"), b), nil},
		"no typ":                       {w.a.sign(t, w.a.head("typ", nil), b), nil},
		"claims twice":                 {w.a.sign(t, h, strings.TrimSuffix(b, "}")+`,"sub":"agent-2"}`), errClaims},
		"claims twice, escaped":        {w.a.sign(t, h, strings.TrimSuffix(b, "}")+`,"\u0073ub":"agent-2"}`), errClaims},
		"claims twice, below":          {w.a.sign(t, h, strings.TrimSuffix(b, "}")+`,"x":{"a":1,"a":2}}`), errClaims},
		"claims not UTF-8":             {w.a.sign(t, h, strings.TrimSuffix(b, "}")+",\"x\":\"\xff\"}"), errClaims},
		"claims with text after":       {w.a.sign(t, h, b+" x"), errClaims},
		"claims a list":                {w.a.sign(t, h, "["+b+"]"), errClaims},
		"claims with NaN":              {w.a.sign(t, h, strings.TrimSuffix(b, "}")+`,"x":NaN}`), errClaims},
		"a JWT within a JWT":           {w.a.sign(t, w.a.head("cty", "JWT"), good), errForeign},
		"an encrypted one":             {parts[0] + ".a.b.c." + parts[2], errForm},
		"no signature":                 {parts[0] + "." + parts[1] + ".", errForm},
		"two parts":                    {parts[0] + "." + parts[1], errForm},
		"four parts":                   {good + ".x", errForm},
		"padding":                      {good + "=", errForm},
		"a line break":                 {good + "\n", errForm},
		"a line break within":          {good[:9] + "\r\n" + good[9:], errForm},
		"standard base64":              {parts[0] + "+" + "." + parts[1] + "." + parts[2], errForm},
		"empty":                        {"", errForm},
		"dots":                         {"..", errForm},
		"too long":                     {good + strings.Repeat("A", iam.MaxToken), errForm},
	} {
		want := ""
		if c.want != nil {
			want = reason(c.want)
		}
		if got := refused(t, w.Verifier, c.token); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"jku", "jwk", "x5u", "x5c", "crit", "b64", "enc", "zip", "cty", "epk", "JKU", "Crit"} {
		for _, v := range []any{"https://attacker.example/keys", []string{"exp"}, claims{"kty": "EC"}, nil, false} {
			head := strings.TrimSuffix(h, "}") + fmt.Sprintf(`,%q:%s}`, name, must(json.Marshal(v)))
			if got := refused(t, w.Verifier, w.a.sign(t, head, b)); got != reason(errForeign) {
				t.Errorf("%s %v: %q", name, v, got)
			}
		}
	}
	// The last character of a signature has bits to spare; only one spelling is taken.
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		s := good[:len(good)-1] + string(c)
		if got := refused(t, w.Verifier, s); s != good && got == "" {
			t.Errorf("another spelling of the same signature was taken (%d)", i)
		}
	}
}

func must(b []byte, err error) string {
	if err != nil {
		panic(err)
	}
	return string(b)
}

// The key decides how a signature is verified, never the token.
func TestAlgorithmConfusion(t *testing.T) {
	w := newWorld(t)
	pub := w.rsaA.key.Public().(*rsa.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	jwk := must(json.Marshal(jose.JSONWebKey{Key: pub, KeyID: "k-rsa"}))
	for name, secret := range map[string][]byte{
		"the public key in PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		"the public key in DER": der, "the key as published": []byte(jwk), "an empty secret": {}, "the modulus": pub.N.Bytes(),
	} {
		for _, alg := range []string{"HS256", "hs256", "HS384"} {
			if got := refused(t, w.Verifier, hmacToken(secret, fmt.Sprintf(`{"alg":%q,"kid":"k-rsa"}`, alg), body())); got != reason(errAlg) {
				t.Errorf("HMAC with %s, %s: %q", name, alg, got)
			}
		}
	}
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "", "ES256K", "RS1", "dir", "ES512", "PS256"} {
		for _, sig := range []string{"", "AA"} {
			tok := b64([]byte(fmt.Sprintf(`{"alg":%q,"kid":"k1"}`, alg))) + "." + b64([]byte(body())) + "." + sig
			if got := refused(t, w.Verifier, tok); got == "" {
				t.Errorf("alg %q was accepted", alg)
			}
		}
	}
	// An accepted algorithm with a key of another type.
	for name, tok := range map[string]string{
		"RS256 with the EC key":   w.rsaA.sign(t, `{"alg":"RS256","kid":"k1"}`, body()),
		"ES256 with the RSA key":  w.a.sign(t, `{"alg":"ES256","kid":"k-rsa"}`, body()),
		"EdDSA with the EC key":   newEd(t, "k1").token(t),
		"a signature of zeros":    strings.Join(strings.Split(w.a.token(t), ".")[:2], ".") + "." + b64(make([]byte, 64)), // CVE-2022-21449
		"a signature of r, s = n": strings.Join(strings.Split(w.a.token(t), ".")[:2], ".") + "." + b64(append(elliptic.P256().Params().N.Bytes(), elliptic.P256().Params().N.Bytes()...)),
		"a signature in ASN.1":    asn1Token(t, w.a),
		"a key of its own":        newEC(t, "k1").token(t),
		"claims of another":       swap(w.a.token(t), w.a.token(t, "sub", "agent-2"), 1),
		"header of another":       swap(w.a.token(t), w.a.sign(t, w.a.head("x", 1), body()), 0),
		"A's token with B's key":  w.b.token(t), // the same key id
		"B's token with A's key":  w.a.token(t, "iss", "https://b.example"),
	} {
		if got := refused(t, w.Verifier, tok); got != reason(errSignature) && got != reason(errKey) {
			t.Errorf("%s: %q", name, got)
		}
	}
	// What an issuer is not configured with is refused, although its key would do.
	only := newWorld(t, func(i *Issuer) { i.Algs = []string{"ES256"} })
	if got := refused(t, only.Verifier, only.rsaA.token(t)); got != reason(errAlg) {
		t.Errorf("RS256 where only ES256 is accepted: %q", got)
	}
}

func asn1Token(t testing.TB, k keypair) string {
	in := strings.Join(strings.Split(k.token(t), ".")[:2], ".")
	sig, err := ecdsa.SignASN1(rand.Reader, k.key.(*ecdsa.PrivateKey), new(big.Int).SetBytes([]byte("0123456789abcdef0123456789abcdef")).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return in + "." + b64(sig)
}

// swap puts part n of b into a.
func swap(a, b string, n int) string {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	x[n] = y[n]
	return strings.Join(x, ".")
}

// A symmetric key in the issuer's own set verifies nothing.
func TestSymmetricKeyInTheSet(t *testing.T) {
	w := newWorld(t)
	raw := []byte(`{"keys":[{"kty":"oct","kid":"s","k":"` + b64([]byte("0123456789abcdef0123456789abcdef")) + `"},` +
		strings.TrimPrefix(string(*w.pa.doc.Load()), `{"keys":[`))
	w.pa.doc.Store(&raw)
	if err := w.setA.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	if got := refused(t, w.Verifier, hmacToken([]byte("0123456789abcdef0123456789abcdef"), `{"alg":"HS256","kid":"s"}`, body())); got == "" {
		t.Error("accepted")
	}
	if got := refused(t, w.Verifier, w.a.token(t)); got != "" {
		t.Errorf("the good key beside it: %s", got)
	}
}

func TestClockSkewEdges(t *testing.T) {
	w := newWorld(t)
	tok := w.a.token(t, "nbf", start.Add(5*time.Minute).Unix())
	for _, c := range []struct {
		at   time.Duration
		want error
	}{
		{4*time.Minute - time.Nanosecond, errEarly}, {4 * time.Minute, nil}, {10 * time.Minute, nil},
		{11*time.Minute - time.Nanosecond, nil}, {11 * time.Minute, errExpired}, {time.Hour, errExpired},
	} {
		w.set(start.Add(c.at))
		want := ""
		if c.want != nil {
			want = reason(c.want)
		}
		for range 2 {
			if got := refused(t, w.Verifier, tok); got != want {
				t.Errorf("after %v: %q, want %q", c.at, got, want)
			}
		}
	}
}

// A token that is known needs no signature again, but ends with its time, its key and the list.
func TestKnownTokensEnd(t *testing.T) {
	w := newWorld(t)
	tok := w.a.token(t)
	first, err := w.Verify(ctx, tok)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := w.Verify(ctx, tok); again != first {
		t.Error("not known the second time")
	}
	// Another signature over the same claims is another token.
	if other, err := w.Verify(ctx, w.a.token(t)); err != nil || other == first {
		t.Errorf("%v", err)
	}
	w.advance(Remember)
	if again, err := w.Verify(ctx, tok); err != nil || again == first {
		t.Errorf("known for longer than %v", Remember)
	}
	// The issuer takes its key back.
	w.pa.set(t, newEC(t, "k2"))
	if err := w.setA.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	if got := refused(t, w.Verifier, tok); got != reason(errKey) {
		t.Errorf("after its key is gone: %q", got)
	}
	// And returns it.
	w.pa.set(t, w.a)
	if err := w.setA.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	if got := refused(t, w.Verifier, tok); got != "" {
		t.Errorf("after its key is back: %q", got)
	}
}

func TestRevocation(t *testing.T) {
	w := newWorld(t)
	tok, other := w.a.token(t), w.a.token(t, "jti", "2", "sub", "agent-2")
	for name, c := range map[string]struct {
		list       *Revoked
		tok, other bool
	}{
		"nothing":                {nil, true, true},
		"an empty list":          {&Revoked{}, true, true},
		"a token":                {&Revoked{Tokens: map[string]struct{}{"a:1": {}}}, false, true},
		"another issuer's token": {&Revoked{Tokens: map[string]struct{}{"b:1": {}, "1": {}}}, true, true},
		"a principal":            {&Revoked{Principals: map[string]time.Time{"a:agent-1": {}}}, false, true},
		"a principal until now":  {&Revoked{Principals: map[string]time.Time{"a:agent-1": start}}, false, true},
		"a principal until then": {&Revoked{Principals: map[string]time.Time{"a:agent-1": start.Add(-time.Second)}}, true, true},
		"nobody":                 {&Revoked{Principals: map[string]time.Time{"": {}, "agent-1": {}}}, true, true},
	} {
		w.revoked.Set(c.list) // the tokens are known after the first round
		for i, x := range []struct {
			tok string
			ok  bool
		}{{tok, c.tok}, {other, c.other}} {
			want := ""
			if !x.ok {
				want = reason(errRevoked)
			}
			if got := refused(t, w.Verifier, x.tok); got != want {
				t.Errorf("%s, token %d: %q, want %q", name, i, got, want)
			}
		}
	}
	// Also at the first sight.
	w.revoked.Set(&Revoked{Tokens: map[string]struct{}{"a:3": {}}})
	if got := refused(t, w.Verifier, w.a.token(t, "jti", "3")); got != reason(errRevoked) {
		t.Errorf("unknown token: %q", got)
	}
}

// When the issuer is away, its keys serve for their time; then nothing is decided, not even for
// tokens that are known.
func TestIssuerOutage(t *testing.T) {
	w := newWorld(t)
	tok := func() string {
		return w.a.token(t, "iat", w.moment().Unix(), "nbf", nil, "exp", w.moment().Add(time.Hour).Unix())
	}
	gone := errors.New("connection refused")
	w.pa.err.Store(&gone)
	w.advance(59 * time.Minute)
	known := tok()
	if got := refused(t, w.Verifier, known); got != "" {
		t.Errorf("within the time: %q", got)
	}
	w.advance(time.Minute)
	for name, x := range map[string]string{"known": known, "new": tok()} {
		_, err := w.Verify(ctx, x)
		if _, refusal := errors.AsType[*iam.Refusal](err); !errors.Is(err, jwks.ErrUnavailable) || refusal {
			t.Errorf("%s token: %v, want %v", name, err, jwks.ErrUnavailable)
		}
	}
	w.pa.err.Store(new(error))
	if err := w.setA.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	if got := refused(t, w.Verifier, tok()); got != "" {
		t.Errorf("when it is back: %q", got)
	}
}

// A token signed with a key that was just published is accepted; tokens with keys that nobody has
// make the issuer be asked once.
func TestUnknownKeys(t *testing.T) {
	w := newWorld(t)
	next := newEC(t, "k2")
	w.pa.set(t, w.a, next)
	w.advance(time.Minute)
	if got := refused(t, w.Verifier, next.token(t)); got != "" {
		t.Fatalf("new key: %q", got)
	}
	w.advance(time.Minute)
	w.pa.reads.Store(0)
	for i := range 500 {
		if got := refused(t, w.Verifier, w.a.sign(t, w.a.head("kid", fmt.Sprint("random", i)), body())); got != reason(errKey) {
			t.Fatalf("%q", got)
		}
	}
	if n := w.pa.reads.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
	// What is not for us at all never makes anybody be asked.
	w.advance(time.Minute)
	w.pa.reads.Store(0)
	for _, e := range [][]any{{"aud", "other"}, {"exp", 1}, {"iss", "https://c.example"}} {
		refused(t, w.Verifier, w.a.sign(t, w.a.head("kid", "nobody's"), body(e...)))
	}
	if n := w.pa.reads.Load(); n != 0 {
		t.Errorf("the issuer was asked %d times for tokens that are not for us", n)
	}
}

func TestRules(t *testing.T) {
	small := iam.Scopes{Upstreams: []string{"openai"}, Endpoints: []string{"chat.*"}, Models: []string{"gpt-5*"}}
	w := newWorld(t, func(i *Issuer) {
		i.Rules = []Rule{
			{Subject: "repo:acme/app:*", Claims: []Claim{{Path: []string{"repository"}, Pattern: "acme/app"}, {Path: []string{"ref_protected"}, Pattern: "true"}}, Kind: iam.KindService, Tenant: "ci", Scopes: small},
			{Subject: "*", Claims: []Claim{{Path: []string{"groups"}, Pattern: "ml-*"}}, Kind: iam.KindPerson, Scopes: all},
		}
	})
	id, err := w.Verify(ctx, w.a.token(t, "sub", "repo:acme/app:ref:refs/heads/main", "repository", "acme/app", "ref_protected", true))
	if err != nil || id.Tenant != "ci" || id.Claims["repository"] != "acme/app" || !slices.Equal(id.Scopes.Models, []string{"gpt-5*"}) {
		t.Errorf("%+v, %v", id, err)
	}
	if id, err := w.Verify(ctx, w.a.token(t, "groups", []string{"x", "ml-1"})); err != nil || id.Kind != iam.KindPerson || id.Claims["groups"] != "ml-1" {
		t.Errorf("%+v, %v", id, err)
	}
	for name, e := range map[string][]any{
		"another repository":       {"sub", "repo:acme/app:x", "repository", "evil/app", "ref_protected", true},
		"a branch unprotected":     {"sub", "repo:acme/app:x", "repository", "acme/app", "ref_protected", false},
		"a claim missing":          {"sub", "repo:acme/app:x", "repository", "acme/app"},
		"a text for a boolean":     {"sub", "repo:acme/app:x", "repository", "acme/app", "ref_protected", 1},
		"a name that begins alike": {"sub", "repo:acme/app-evil:x", "repository", "acme/app", "ref_protected", true},
		"no group":                 {"groups", []string{}},
		"another group":            {"groups", []any{"x", 1, []string{"ml-1"}}},
		"groups an object":         {"groups", claims{"ml-1": 1}},
		"group too long":           {"groups", "ml-" + strings.Repeat("x", maxClaimText)},
	} {
		if got := refused(t, w.Verifier, w.a.token(t, e...)); got != reason(errRule) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	w := newWorld(t)
	good := func() Issuer {
		return Issuer{Name: "a", URL: "https://a.example", Audiences: []string{"x"}, Keys: w.setA, Rules: []Rule{{Subject: "*", Kind: iam.KindAgent, Scopes: all}}}
	}
	if _, err := New(Options{Issuers: []Issuer{good()}}); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*Issuer){
		"no name":            func(i *Issuer) { i.Name = "" },
		"a name with colon":  func(i *Issuer) { i.Name = "a:b" },
		"no URL":             func(i *Issuer) { i.URL = "" },
		"no audience":        func(i *Issuer) { i.Audiences = nil },
		"an empty audience":  func(i *Issuer) { i.Audiences = []string{"x", ""} },
		"HS256":              func(i *Issuer) { i.Algs = []string{"HS256"} },
		"none":               func(i *Issuer) { i.Algs = []string{"none"} },
		"no keys":            func(i *Issuer) { i.Keys = nil },
		"a life of a year":   func(i *Issuer) { i.MaxLifetime = 365 * 24 * time.Hour },
		"no rules":           func(i *Issuer) { i.Rules = nil },
		"a rule of anybody":  func(i *Issuer) { i.Rules[0].Subject = "" },
		"a rule of no kind":  func(i *Issuer) { i.Rules[0].Kind = "key" },
		"a rule of no scope": func(i *Issuer) { i.Rules[0].Scopes = iam.Scopes{} },
		"an empty claim":     func(i *Issuer) { i.Rules[0].Claims = []Claim{{}} },
	} {
		i := good()
		edit(&i)
		if _, err := New(Options{Issuers: []Issuer{i}}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New(Options{Issuers: []Issuer{good(), good()}}); err == nil {
		t.Error("the same issuer twice: accepted")
	}
	if _, err := New(Options{Skew: time.Hour}); err == nil {
		t.Error("a skew of an hour: accepted")
	}
}
