package hostile

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sallyport.dev/sallyport/internal/iam/apikey"
)

const providersOwn = "sk-provider-canary-7f3a9c"

// keyed is a gateway with keys of its own, one of which is for certain addresses only.
type keyed struct {
	*gateway
	key, ranged string
}

func startKeyed(t *testing.T, iam string) *keyed {
	t.Helper()
	t.Setenv("HOSTILE_PROVIDER_KEY", providersOwn)
	g := start(t, "      credential: {env: HOSTILE_PROVIDER_KEY}", "iam: {mode: keys"+iam+"}")
	make := func(more ...string) string {
		var out []byte
		var err error
		for range 100 { // it listens for calls a moment before it does for administrators
			if out, err = g.Command(g.bin, append([]string{"key", "create", "--name", "k", "--upstream", "*", "--endpoint", "*", "--model", "*"}, more...)...); err == nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if err != nil {
			t.Fatal(err)
		}
		i := bytes.Index(out, []byte(apikey.Prefix))
		if i < 0 || len(out) < i+apikey.Len {
			t.Fatalf("no key in %q", out)
		}
		return string(out[i : i+apikey.Len])
	}
	k := &keyed{g, make(), make("--cidr", "198.51.100.0/24")}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) { // another process made them
		if r := k.call(t, "Authorization: Bearer "+k.key); r.status == http.StatusOK {
			break
		} else if time.Now().After(end) {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	return k
}

// call sends a request with just these header lines besides what the body needs.
func (k *keyed) call(t *testing.T, headers ...string) reply { return k.to(t, chatPath, headers...) }

func (k *keyed) to(t *testing.T, target string, headers ...string) reply {
	t.Helper()
	return k.raw(t, strings.NewReader(bare("POST "+target, append(headers, fmt.Sprintf("Content-Length: %d", len(hello)))...)+hello))
}

func bare(line string, headers ...string) string {
	return line + " HTTP/1.1\r\nHost: gateway.test\r\nContent-Type: application/json\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
}

// clean checks that no key is anywhere it must not be: at the provider, in an answer, in the files.
func (k *keyed) clean(t *testing.T, answers []reply) {
	t.Helper()
	for _, key := range []string{k.key, k.ranged} {
		secret := strings.Split(key, "_")[3]
		k.up.mu.Lock()
		for _, r := range k.up.seen {
			if all := fmt.Sprint(r.Header, r.Trailer, r.RequestURI, r.Host); strings.Contains(all, secret) {
				t.Errorf("a key reached the provider: %s", all)
			}
		}
		k.up.mu.Unlock()
		for _, r := range answers {
			if all := fmt.Sprint(r.header, r.body); strings.Contains(all, secret) || strings.Contains(all, providersOwn) {
				t.Errorf("an answer holds a credential: %s", all)
			}
		}
		_ = filepath.WalkDir(filepath.Dir(k.Config), func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if b, _ := os.ReadFile(path); bytes.Contains(b, []byte(secret)) || bytes.Contains(b, []byte(providersOwn)) {
					t.Errorf("%s holds a credential", path)
				}
			}
			return nil
		})
		if strings.Contains(k.Log(), secret) || strings.Contains(k.Log(), providersOwn) {
			t.Error("the log holds a credential")
		}
	}
}

// B8: whose credential is it? Whatever two hops could read differently is refused, and what is not ours
// to believe changes nothing.
func TestB8WhoseCredential(t *testing.T) {
	k := startKeyed(t, "")
	stranger := apikey.Generate(apikey.NewID()).Secret().Reveal()
	good, other := "Authorization: Bearer "+k.key, "Bearer "+stranger
	escaped := strings.ReplaceAll(k.key, "_", "%5F")
	var answers []reply
	for name, c := range map[string]struct {
		status  int
		target  string
		headers []string
	}{
		"one":                               {200, chatPath, []string{good}},
		"the scheme in another case":        {200, chatPath, []string{"aUTHORIZATION: bEARER " + k.key}},
		"the same in two headers":           {200, chatPath, []string{good, "X-Api-Key: " + k.key}},
		"two, the same":                     {400, chatPath, []string{good, good}},
		"two, good first":                   {400, chatPath, []string{good, "Authorization: " + other}},
		"two, good last":                    {400, chatPath, []string{"Authorization: " + other, good}},
		"two, in two cases":                 {400, chatPath, []string{good, "authorization: " + other}},
		"two, one empty":                    {400, chatPath, []string{"Authorization:", good}},
		"two x-api-key":                     {400, chatPath, []string{"X-Api-Key: " + k.key, "x-api-key: " + stranger}},
		"a list":                            {400, chatPath, []string{good + ", " + other}},
		"a list of one and none":            {400, chatPath, []string{good + ","}},
		"beside another in x-api-key":       {400, chatPath, []string{good, "X-Api-Key: sk-other"}},
		"beside another in api-key":         {400, chatPath, []string{good, "Api-Key: sk-other"}},
		"ours behind another":               {400, chatPath, []string{"Authorization: Bearer sk-other", "X-Api-Key: " + k.key}},
		"beside basic":                      {400, chatPath, []string{"Authorization: Basic eDp5", "X-Api-Key: " + k.key}},
		"a twin with underscores":           {400, chatPath, []string{good, "X_Api_Key: sk-other"}},
		"a twin with one":                   {400, chatPath, []string{good, "x-api_key: sk-other"}},
		"only a twin":                       {400, chatPath, []string{"Api_Key: " + k.key}},
		"a space before the colon":          {400, chatPath, []string{"Authorization : Bearer " + k.key}},
		"folded":                            {400, chatPath, []string{"Authorization: Bearer\r\n " + k.key}},
		"none":                              {401, chatPath, nil},
		"in a header of proxies":            {400, chatPath, []string{"Proxy-Authorization: Bearer " + k.key}},
		"in a header of others":             {400, chatPath, []string{"X-Goog-Api-Key: " + k.key}},
		"in a cookie":                       {400, chatPath, []string{"Cookie: key=" + k.key}},
		"in a cookie besides":               {400, chatPath, []string{good, "Cookie: a=b; key=" + k.ranged}},
		"in the query":                      {400, chatPath + "?key=" + k.key, nil},
		"in the query besides":              {400, chatPath + "?api-key=" + k.key, []string{good}},
		"in the query, encoded":             {400, chatPath + "?k=" + escaped, []string{good}},
		"in the query, among broken escape": {400, chatPath + "?a=%zz&k=" + escaped, []string{good}},
		"in the path":                       {400, "/v1/files/" + k.key, []string{good}},
		"in the path, encoded":              {400, "/v1/files/" + escaped, nil},
		"with words behind":                 {401, chatPath, []string{good + " and more"}},
		"as a user name":                    {401, chatPath, []string{"Authorization: Basic " + k.key}},
		"unknown":                           {401, chatPath, []string{"Authorization: " + other}},
	} {
		before := k.up.calls.Load()
		r := k.to(t, c.target, c.headers...)
		answers = append(answers, r)
		if r.status != c.status {
			t.Errorf("%s: %d %.200q %v, want %d", name, r.status, r.body, r.err, c.status)
		}
		if sent := k.up.calls.Load() - before; (sent == 1) != (c.status == 200) {
			t.Errorf("%s: %d calls reached the provider", name, sent)
		}
	}
	k.clean(t, answers)
}

// B9: what goes on to the provider: the gateway's own credential, and nobody's word on who calls.
func TestB9WhatProxiesSay(t *testing.T) {
	k := startKeyed(t, "")
	good := "Authorization: Bearer " + k.key
	says := []string{
		"Forwarded: for=198.51.100.7;host=x", "X-Forwarded-For: 198.51.100.7", "X-Forwarded-Host: x", "X-Forwarded-Proto: https", "X-Real-IP: 198.51.100.7", "True-Client-IP: 198.51.100.7",
		"CF-Connecting-IP: 198.51.100.7", "X-Forwarded-User: root", "X-Forwarded-Email: root@x", "X-Forwarded-Groups: admins", "X-Forwarded-Preferred-Username: root", "X-Remote-User: root",
		"Remote-User: root", "X-Auth-Request-User: root", "X-Auth-Request-Email: root@x", "X-Forwarded-Client-Cert: URI=spiffe://x/y", "X-SSL-Client-DN: CN=root", "Client-Cert: :AAAA:",
		"X-Goog-Api-Key: AIza-mine", "Ocp-Apim-Subscription-Key: mine", "X-Sallyport-Verdict: allow", "Sallyport-Id: mine",
		"X_Forwarded_User: root", "X-Forwarded_User: root", "x_sallyport_verdict: allow", "Sallyport_Id: mine", "Remote_User: root", "X_Goog_Api_Key: AIza-mine",
	}
	r := k.call(t, append(slices.Clone(says), good, "X-Unknown: kept", "X_Unknown: kept")...)
	if r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	up := k.up.last()
	for _, s := range says {
		name, _, _ := strings.Cut(s, ":")
		if v, ok := up.Header[http.CanonicalHeaderKey(name)]; ok {
			t.Errorf("%s arrived: %q", name, v)
		}
	}
	if up.Header.Get("X-Unknown") != "kept" || len(up.Header["X_unknown"]) != 1 {
		t.Errorf("an unknown header was lost: %v", up.Header)
	}
	if a := up.Header["Authorization"]; len(a) != 1 || a[0] != "Bearer "+providersOwn {
		t.Errorf("Authorization arrived as %q", a)
	}
	if up.Host == "gateway.test" {
		t.Error("the caller's Host arrived")
	}

	// Hop-by-hop fields end here; what the call was decided by cannot be made one of them.
	for _, named := range []string{"authorization", "Authorization, close", "x-api-key", "api-key", "content-type", "content-length", "content-encoding"} {
		r := k.call(t, good, "Connection: "+named)
		if a := k.up.last().Header; r.status != http.StatusOK || a.Get("Authorization") != "Bearer "+providersOwn || a.Get("Content-Type") != "application/json" {
			t.Errorf("Connection: %s: %d, the provider got %v", named, r.status, a)
		}
	}
	if r := k.call(t, "Api-Key: "+k.key, "Connection: api-key"); r.status != http.StatusOK {
		t.Errorf("a credential that is named by Connection: %d", r.status)
	}

	// A trailer is no header: not read, and not sent on.
	trailers := func(headers string, trailer ...string) string {
		return bare("POST "+chatPath, "Transfer-Encoding: chunked", headers) + fmt.Sprintf("%x\r\n%s\r\n0\r\n%s\r\n\r\n", len(hello), hello, strings.Join(trailer, "\r\n"))
	}
	for name, c := range map[string]struct {
		raw    string
		status int
	}{
		"a key as a trailer":           {trailers("Trailer: Authorization", good), 401},
		"another key as a trailer":     {trailers(good+"\r\nTrailer: X-Api-Key", "X-Api-Key: sk-other"), 200},
		"a trailer that was not named": {trailers(good, "X-Api-Key: "+k.ranged), 200},
		"a word on the caller as one":  {trailers(good+"\r\nTrailer: X-Forwarded-User", "X-Forwarded-User: root"), 200},
		"framing as a trailer":         {trailers(good+"\r\nTrailer: Content-Length", "Content-Length: 3"), 400},
	} {
		r := k.raw(t, strings.NewReader(c.raw))
		if r.status != c.status {
			t.Errorf("%s: %d %.200q, want %d", name, r.status, r.body, c.status)
		}
		if up := k.up.last(); len(up.Trailer) > 0 || up.Header.Get("X-Api-Key") != "" || up.Header.Get("X-Forwarded-User") != "" {
			t.Errorf("%s: the provider got %v %v", name, up.Header, up.Trailer)
		}
	}
	k.clean(t, []reply{r})
}

// B10: an address is believed of a proxy that is trusted, and of nobody else.
func TestB10WhereFrom(t *testing.T) {
	k := startKeyed(t, "")
	ranged := "Authorization: Bearer " + k.ranged
	for _, h := range []string{"X-Forwarded-For: 198.51.100.7", "Forwarded: for=198.51.100.7", "X-Real-IP: 198.51.100.7", "True-Client-IP: 198.51.100.7", "X-Client-IP: 198.51.100.7",
		"X_Forwarded_For: 198.51.100.7", "Via: 1.1 198.51.100.7"} {
		if r := k.call(t, ranged, h); r.status != http.StatusForbidden {
			t.Errorf("from no trusted proxy, %s: %d", h, r.status)
		}
	}
	k = startKeyed(t, ", trusted_proxies: [127.0.0.0/8]")
	ranged = "Authorization: Bearer " + k.ranged
	for name, c := range map[string]struct {
		status  int
		headers []string
	}{
		"the proxy says so":                 {200, []string{"X-Forwarded-For: 198.51.100.7"}},
		"the proxy says so, of a chain":     {200, []string{"X-Forwarded-For: 203.0.113.9, 198.51.100.7, 127.0.0.9"}},
		"the caller says so":                {403, []string{"X-Forwarded-For: 198.51.100.7, 203.0.113.9"}},
		"the caller says so, in a line":     {403, []string{"X-Forwarded-For: 198.51.100.7", "X-Forwarded-For: 203.0.113.9"}},
		"nobody says":                       {403, nil},
		"what is no address":                {403, []string{"X-Forwarded-For: 198.51.100.7, unknown"}},
		"what is no address of this world":  {403, []string{"X-Forwarded-For: 198.51.100.007"}},
		"another header":                    {403, []string{"X-Real-IP: 198.51.100.7"}},
		"another header beside":             {403, []string{"X-Forwarded-For: 203.0.113.9", "Forwarded: for=198.51.100.7"}},
		"underscores":                       {403, []string{"X_Forwarded_For: 198.51.100.7"}},
		"underscores beside":                {403, []string{"X-Forwarded-For: 203.0.113.9", "X_Forwarded_For: 198.51.100.7"}},
		"named by Connection":               {403, []string{"X-Forwarded-For: 203.0.113.9", "Connection: X-Forwarded-For"}},
		"named by Connection, and believed": {200, []string{"X-Forwarded-For: 198.51.100.7", "Connection: X-Forwarded-For"}},
	} {
		if r := k.call(t, append(c.headers, ranged)...); r.status != c.status {
			t.Errorf("%s: %d %.100q, want %d", name, r.status, r.body, c.status)
		}
	}
	k.clean(t, nil)
}

// B11: the same over HTTP/2, frame by frame, with what no client library sends.
func TestB11FramesOfHTTP2(t *testing.T) {
	k := startKeyed(t, "")
	type fields = []hpack.HeaderField
	f := func(kv ...string) (out fields) {
		for i := 0; i < len(kv); i += 2 {
			out = append(out, hpack.HeaderField{Name: kv[i], Value: kv[i+1]})
		}
		return out
	}
	first := f(":method", "POST", ":scheme", "http", ":path", chatPath, ":authority", "gateway.test", "content-type", "application/json")
	good := f("authorization", "Bearer "+k.key)
	with := func(more ...string) fields { return append(append(slices.Clone(first), good...), f(more...)...) }
	var answers []reply
	for name, c := range map[string]struct {
		head, trailer fields
		status        string // "": the stream or the connection is broken off
	}{
		"one":                                {with(), nil, "200"},
		"two, good first":                    {with("authorization", "Bearer sk-other"), nil, "400"},
		"two, good last":                     {append(append(slices.Clone(first), f("authorization", "Bearer sk-other")...), good...), nil, "400"},
		"two, the same":                      {with("authorization", "Bearer "+k.key), nil, "400"},
		"beside another":                     {with("x-api-key", "sk-other"), nil, "400"},
		"a twin with underscores":            {with("x_api_key", "sk-other"), nil, "400"},
		"in capitals":                        {append(slices.Clone(first), f("Authorization", "Bearer "+k.key)...), nil, ""},
		"in capitals besides":                {with("X-Api-Key", "sk-other"), nil, ""},
		"a line break in a value":            {with("x", "a\r\nauthorization: Bearer sk-other"), nil, ""},
		"a NUL in a value":                   {with("x", "a\x00b"), nil, ""},
		"a line break in a name":             {with("x\r\nauthorization", "a"), nil, ""},
		"a space in a name":                  {with("authorization ", "Bearer sk-other"), nil, ""},
		"connection":                         {with("connection", "authorization"), nil, "400"},
		"transfer-encoding":                  {with("transfer-encoding", "chunked"), nil, "400"},
		"upgrade":                            {with("upgrade", "websocket"), nil, "400"},
		"a pseudo-header behind":             {with(":path", "/v1/files"), nil, ""},
		"a path twice":                       {append(f(":path", "/v1/models"), with()...), nil, ""},
		"an unknown pseudo-header":           {append(f(":sallyport", "x"), with()...), nil, ""},
		"an answer's pseudo-header":          {append(f(":status", "200"), with()...), nil, ""},
		"a key in the path":                  {append(f(":method", "POST", ":scheme", "http", ":path", chatPath+"?k="+k.key, ":authority", "gateway.test", "content-type", "application/json"), good...), nil, "400"},
		"a path that is a URL":               {append(f(":method", "POST", ":scheme", "http", ":path", "http://other.test"+chatPath, ":authority", "gateway.test", "content-type", "application/json"), good...), nil, "400"},
		"no path":                            {append(f(":method", "POST", ":scheme", "http", ":authority", "gateway.test", "content-type", "application/json"), good...), nil, ""},
		"CONNECT":                            {append(f(":method", "CONNECT", ":authority", "gateway.test"), good...), nil, ""},
		"another host beside":                {with("host", "other.test"), nil, "200"},
		"a key in pieces of a cookie":        {with("cookie", "a=b", "cookie", "k="+k.ranged), nil, "400"},
		"a key as a trailer":                 {slices.Clone(first), good, "401"},
		"another key as a trailer":           {with(), f("x-api-key", "sk-other"), "200"},
		"a word on the caller, as a trailer": {with("trailer", "x-forwarded-user"), f("x-forwarded-user", "root"), "200"},
		"a pseudo-header as a trailer":       {with(), f(":path", "/v1/files"), ""},
		"a word on the caller":               {with("x-forwarded-user", "root", "forwarded", "for=1.2.3.4"), nil, "200"},
	} {
		before := k.up.calls.Load()
		status, body := k.frames(t, c.head, c.trailer)
		answers = append(answers, reply{body: body})
		if status != c.status && (c.status != "" || status != "400") {
			t.Errorf("%s: %q %.200q, want %q", name, status, body, c.status)
		}
		sent := k.up.calls.Load() - before
		if (sent == 1) != (c.status == "200") {
			t.Errorf("%s: %d calls reached the provider", name, sent)
		}
		if sent == 0 {
			continue
		}
		up := k.up.last()
		if a := up.Header["Authorization"]; len(a) != 1 || a[0] != "Bearer "+providersOwn || up.Header.Get("X-Api-Key") != "" || up.Header.Get("X-Forwarded-User") != "" ||
			up.Header.Get("Forwarded") != "" || len(up.Trailer) > 0 || strings.Contains(up.Host, "test") || up.URL.Path != chatPath {
			t.Errorf("%s: the provider got %s %s %v %v", name, up.Host, up.URL, up.Header, up.Trailer)
		}
	}
	k.clean(t, answers)
}

// frames sends one request as it stands and returns the status of the answer; "" when there was none.
func (k *keyed) frames(t *testing.T, head, trailer []hpack.HeaderField) (status, body string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", k.Addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	fr := http2.NewFramer(c, c)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	encode := func(fs []hpack.HeaderField) []byte {
		block.Reset()
		for _, f := range fs {
			_ = enc.WriteField(f)
		}
		return bytes.Clone(block.Bytes())
	}
	_ = fr.WriteSettings()
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encode(head), EndHeaders: true})
	_ = fr.WriteData(1, trailer == nil, []byte(hello))
	if trailer != nil {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encode(trailer), EndHeaders: true, EndStream: true})
	}
	for {
		got, err := fr.ReadFrame()
		if err != nil {
			return status, body
		}
		switch x := got.(type) {
		case *http2.SettingsFrame:
			if !x.IsAck() {
				_ = fr.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			status = x.PseudoValue("status")
			k.saw(http.Header{"Sallyport-Id": {id(x)}})
			if x.StreamEnded() {
				return status, body
			}
		case *http2.DataFrame:
			if body += string(x.Data()); x.StreamEnded() {
				return status, body
			}
		case *http2.GoAwayFrame:
			if x.ErrCode != http2.ErrCodeNo { // or it ends with this answer
				return status, body
			}
		case *http2.RSTStreamFrame:
			return status, body
		}
	}
}

func id(h *http2.MetaHeadersFrame) string {
	for _, f := range h.RegularFields() {
		if f.Name == "sallyport-id" {
			return f.Value
		}
	}
	return ""
}
