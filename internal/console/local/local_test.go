package local_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/console/local"
)

// dir is short: a socket's path is.
func dir(t *testing.T) string {
	t.Helper()
	d, err := os.MkdirTemp("", "sp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(d) })
	return d
}

func serve(t *testing.T, d string) *http.Client {
	t.Helper()
	ln, err := local.Listen(d)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ConnContext: local.ConnContext, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local.Is(r) {
			_, _ = io.WriteString(w, "local")
		}
	})}
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close() })
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(d, local.FileName))
	}}}
}

func TestOverTheSocket(t *testing.T) {
	d := dir(t)
	c := serve(t, d)
	res, err := c.Get("http://local/")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if string(b) != "local" {
		t.Errorf("%q", b)
	}
	if st, _ := os.Stat(filepath.Join(d, local.FileName)); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %04o", st.Mode().Perm())
	}
}

func TestNoOtherConnectionIsLocal(t *testing.T) {
	if local.Is(httptest.NewRequest("GET", "/", nil)) {
		t.Error("a request without a connection")
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local.Is(r) {
			t.Error("a TCP connection from the same machine is local")
		}
	}))
	s.Config.ConnContext = local.ConnContext
	s.Start()
	defer s.Close()
	for _, h := range []string{"X-Local", "Forwarded"} {
		r, _ := http.NewRequest("GET", s.URL, nil)
		r.Header.Set(h, "local")
		res, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
}

func TestListenRefuses(t *testing.T) {
	d := dir(t)
	serve(t, d)
	if _, err := local.Listen(d); err == nil || !strings.Contains(err.Error(), "another gateway") {
		t.Errorf("a second gateway: %v", err)
	}
	d = dir(t)
	if err := os.WriteFile(filepath.Join(d, local.FileName), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Listen(d); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file in its place: %v", err)
	}
}

func TestADirectoryWithALongPath(t *testing.T) {
	d := filepath.Join(dir(t), strings.Repeat("long", 40))
	if err := os.Mkdir(d, 0o700); err != nil {
		t.Fatal(err)
	}
	ln, err := local.Listen(d)
	if err != nil {
		t.Fatal(err)
	}
	c, err := local.Dial(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(d, local.FileName)); err == nil {
		t.Error("the socket is left")
	}
}

func TestAStaleSocketIsReplaced(t *testing.T) {
	d := dir(t)
	ln, err := net.Listen("unix", filepath.Join(d, local.FileName))
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = ln.Close()
	if res, err := serve(t, d).Get("http://local/"); err != nil {
		t.Error(err)
	} else {
		_ = res.Body.Close()
	}
}
