// Package local is the way to the administrative interface for whoever runs the gateway: a socket in
// its data directory, which only the gateway's own account can reach. Who can reach it can read the
// gateway's keys as well, so it asks for no further proof; what is done over it is on the record like
// everything else, as done by the machine's administrator.
package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// FileName is the name of the socket in the data directory.
const FileName = "admin.sock"

type ctxKey struct{}

// Listen makes the socket in dir, for the owner only. A socket that was left by a process that is gone
// is replaced; one that answers is an error.
func Listen(dir string) (net.Listener, error) {
	path := filepath.Join(dir, FileName)
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("local: another gateway answers on %s", path)
	}
	if st, err := os.Lstat(path); err == nil {
		if st.Mode()&fs.ModeSocket == 0 {
			return nil, fmt.Errorf("local: %s is there and is no socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("local: remove stale socket: %w", err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("local: %w", err)
	}
	// The directory is 0700, so nobody else comes between the two steps.
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("local: %w", err)
	}
	return ln, nil
}

// ConnContext marks connections of the socket whose other side is the gateway's own account. It is for
// http.Server of that listener.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if u, ok := c.(*net.UnixConn); ok && samePeer(u) {
		return context.WithValue(ctx, ctxKey{}, true)
	}
	return ctx
}

// Is says whether a request came over the socket, from the gateway's own account.
func Is(r *http.Request) bool {
	ok, _ := r.Context().Value(ctxKey{}).(bool)
	return ok
}

// Mark is for a handler that is called within the process, without a connection.
func Mark(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), ctxKey{}, true))
}
