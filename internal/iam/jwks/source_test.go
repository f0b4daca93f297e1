package jwks

import (
	"compress/gzip"
	"context"
	"crypto/elliptic"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/secret"
)

// issuer is a real HTTPS server.
func issuer(t *testing.T, h func(w http.ResponseWriter, r *http.Request)) *httptest.Server {
	s := httptest.NewTLSServer(http.HandlerFunc(h))
	t.Cleanup(s.Close)
	return s
}

func TestHTTPSource(t *testing.T) {
	good := doc(t, ecJWK(t, elliptic.P256(), "P-256"))
	var other *httptest.Server
	otherSaw := ""
	other = issuer(t, func(w http.ResponseWriter, r *http.Request) {
		otherSaw = r.Header.Get("Authorization")
		_, _ = w.Write(good)
	})
	var s *httptest.Server
	discovery := func(m map[string]any) {
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/.well-known/openid-configuration" {
				_ = json.NewEncoder(w).Encode(m)
				return
			}
			_, _ = w.Write(good)
		})
	}
	s = issuer(t, nil)
	handler := func(h http.HandlerFunc) { s.Config.Handler = h }
	bearer := func() (secret.String, error) { return secret.New("canary"), nil }
	for name, c := range map[string]struct {
		set  func()
		src  HTTP
		want string // part of the error; empty: the keys come
	}{
		"a plain answer": {func() { handler(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(good) }) }, HTTP{URL: s.URL + "/keys"}, ""},
		"a redirect": {func() {
			handler(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) })
		}, HTTP{URL: s.URL}, "answered 302"},
		"an error with keys": {func() {
			handler(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500); _, _ = w.Write(good) })
		}, HTTP{URL: s.URL}, "answered 500"},
		"10 MB":                                {func() { handler(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(make([]byte, 10<<20)) }) }, HTTP{URL: s.URL}, "larger than"},
		"a compressed bomb":                    {func() { handler(bomb) }, HTTP{URL: s.URL}, "larger than"},
		"plain http":                           {func() {}, HTTP{URL: "http://127.0.0.1:1/keys"}, "expected an https URL"},
		"a user in the URL":                    {func() {}, HTTP{URL: strings.Replace(s.URL, "https://", "https://a:b@", 1)}, "expected an https URL"},
		"discovery":                            {func() { discovery(map[string]any{"issuer": s.URL, "jwks_uri": s.URL + "/keys"}) }, HTTP{Issuer: s.URL}, ""},
		"discovery, a slash":                   {func() { discovery(map[string]any{"issuer": s.URL, "jwks_uri": s.URL + "/keys"}) }, HTTP{Issuer: s.URL + "/"}, "names another issuer"},
		"discovery, another":                   {func() { discovery(map[string]any{"issuer": "https://other", "jwks_uri": s.URL + "/keys"}) }, HTTP{Issuer: s.URL}, "names another issuer"},
		"discovery, no keys":                   {func() { discovery(map[string]any{"issuer": s.URL}) }, HTTP{Issuer: s.URL}, "expected an https URL"},
		"discovery to http":                    {func() { discovery(map[string]any{"issuer": s.URL, "jwks_uri": "http://169.254.169.254/"}) }, HTTP{Issuer: s.URL}, "expected an https URL"},
		"discovery to a file":                  {func() { discovery(map[string]any{"issuer": s.URL, "jwks_uri": "file:///etc/passwd"}) }, HTTP{Issuer: s.URL}, "expected an https URL"},
		"discovery, our token to another host": {func() { discovery(map[string]any{"issuer": s.URL, "jwks_uri": other.URL}) }, HTTP{Issuer: s.URL, Bearer: bearer}, ""},
	} {
		c.set()
		otherSaw = ""
		c.src.Client = s.Client()
		c.src.Client.Transport.(*http.Transport).TLSClientConfig.RootCAs.AddCert(other.Certificate())
		raw, err := c.src.JWKS(context.Background())
		switch {
		case c.want == "" && (err != nil || string(raw) != string(good)):
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if otherSaw != "" {
			t.Errorf("%s: our token went to another host", name)
		}
	}
	saw := ""
	handler(func(w http.ResponseWriter, r *http.Request) {
		saw = r.Header.Get("Authorization")
		_, _ = w.Write(good)
	})
	if _, err := (&HTTP{Client: s.Client(), URL: s.URL, Bearer: bearer}).JWKS(t.Context()); err != nil || saw != "Bearer canary" {
		t.Errorf("%q, %v", saw, err)
	}
	if _, err := (&HTTP{Client: http.DefaultClient, URL: s.URL}).JWKS(t.Context()); err == nil {
		t.Error("a certificate of nobody was believed")
	}
}

func bomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	zero := make([]byte, 1<<20)
	for range 64 {
		if _, err := z.Write(zero); err != nil {
			return
		}
	}
	_ = z.Close()
}

// A reading ends at its time, although the issuer goes on sending.
func TestSlowIssuer(t *testing.T) {
	s := issuer(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = fmt.Fprint(w, " ")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(5 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
	})
	set := newSet(t, Options{Source: &HTTP{Client: s.Client(), URL: s.URL}, Timeout: 100 * time.Millisecond})
	begun := time.Now()
	if err := set.Refresh(t.Context()); err == nil || time.Since(begun) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
}

func TestFileSource(t *testing.T) {
	p := filepath.Join(t.TempDir(), "keys.json")
	if _, err := File(p).JWKS(t.Context()); err == nil {
		t.Error("a file that is not there was read")
	}
	if err := os.WriteFile(p, make([]byte, 10<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if raw, err := File(p).JWKS(t.Context()); err != nil || len(raw) != MaxBytes+1 {
		t.Errorf("%d bytes were read, %v", len(raw), err)
	}
}
