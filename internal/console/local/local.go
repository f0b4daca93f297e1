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
	if c, err := Dial(context.Background(), dir); err == nil {
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
	short, done, err := shorten(dir)
	if err != nil {
		return nil, err
	}
	defer done()
	ln, err := net.Listen("unix", short)
	if err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	if short != path {
		ln.(*net.UnixListener).SetUnlinkOnClose(false) // the short name is gone by then
		ln = &unlinking{ln, path}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("local: %w", err)
	}
	return ln, nil
}

// unlinking takes the socket's file away when it is closed.
type unlinking struct {
	net.Listener
	path string
}

func (u *unlinking) Close() error {
	return errors.Join(u.Listener.Close(), os.Remove(u.path))
}

// Dial connects to the socket in dir.
func Dial(ctx context.Context, dir string) (net.Conn, error) {
	short, done, err := shorten(dir)
	if err != nil {
		return nil, err
	}
	defer done()
	return (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "unix", short)
}

// longest is what every system takes as the path of a socket.
const longest = 100

// shorten gives a path to the socket that is short enough for the system: through a handle of the
// directory where its own is too long.
func shorten(dir string) (path string, done func(), err error) {
	path = filepath.Join(dir, FileName)
	if len(path) <= longest {
		return path, func() {}, nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return "", nil, fmt.Errorf("local: %w", err)
	}
	path = fmt.Sprintf("/proc/self/fd/%d/%s", f.Fd(), FileName)
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		_ = f.Close()
		return "", nil, fmt.Errorf("local: the path of %s is too long for a socket; use a data directory with a shorter path", FileName)
	}
	return path, func() { _ = f.Close() }, nil
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
