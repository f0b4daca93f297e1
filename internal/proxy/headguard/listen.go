package headguard

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
)

// Listen wraps a plain listener for http.Server.Serve, together with ConnContext.
func Listen(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newConn(c), nil
}

var errUnseen = errors.New("the request head was not seen on the wire")

// Check judges the head that r was read from; ctx is r's own. A handler calls it once for every request, first. The
// error is a *gate.Problem, 400 CodeAmbiguous; the answer to it must carry "Connection: close".
// Reason says more, for the record. A request of an HTTP/1 connection that Listen did not wrap is
// refused.
func Check(ctx context.Context, r *http.Request) error {
	if len(r.Header["Content-Type"]) > 1 {
		return refused(errType)
	}
	if r.ProtoMajor >= 2 {
		// x/net has refused connection-specific headers and Content-Length lies (RFC 9113 section 8.2).
		// net/http hands "PRI * HTTP/2.0" sent to an HTTP/1 server to the handler.
		if r.Method == http.MethodConnect || r.Method == "PRI" {
			return refused(errConnect)
		}
		// RFC 9113 section 8.3.1: a path, or * of OPTIONS. net/http takes a whole URL for one, too, whose
		// authority need not be that of the request.
		if !strings.HasPrefix(r.RequestURI, "/") && (r.RequestURI != "*" || r.Method != http.MethodOptions) {
			return refused(errTarget)
		}
		return nil
	}
	c, ok := ctx.Value(connKey{}).(wrapped)
	if !ok {
		return refused(errUnseen)
	}
	if err := c.guard().take(r.Method, r.RequestURI); err != nil {
		return refused(err)
	}
	return nil
}

type wrapped interface{ guard() *Conn }

func (c *Conn) guard() *Conn { return c }

// Refusal is a Problem that knows its reason.
type Refusal struct {
	*gate.Problem
	Reason error
}

func (e *Refusal) Unwrap() []error { return []error{e.Problem, e.Reason} }

func refused(err error) error {
	return &Refusal{&gate.Problem{Status: http.StatusBadRequest, Code: gate.CodeAmbiguous,
		Message: "The request head can be read in more than one way: " + err.Error() + "."}, err}
}
