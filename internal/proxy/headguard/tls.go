package headguard

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// ListenTLS is Listen for TLS. It shakes hands itself, because http.Server speaks HTTP/2 only on a
// *tls.Conn and the heads of HTTP/1 are only visible above TLS: a connection that chose "h2" comes
// out as the *tls.Conn it is, any other as one that watches its heads. handshake bounds each
// handshake (10 s when zero); a slow one holds up nobody else.
func ListenTLS(l net.Listener, config *tls.Config, handshake time.Duration) net.Listener {
	if handshake <= 0 {
		handshake = 10 * time.Second
	}
	t := &tlsListener{Listener: l, config: config, handshake: handshake, conns: make(chan net.Conn), closed: make(chan struct{})}
	go t.run()
	return t
}

type tlsListener struct {
	net.Listener
	config    *tls.Config
	handshake time.Duration
	conns     chan net.Conn
	closed    chan struct{}
	once      sync.Once
	err       error // set before closed is closed
}

func (t *tlsListener) run() {
	for {
		c, err := t.Listener.Accept()
		if err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				continue
			}
			if isTemporary(err) {
				select {
				case <-time.After(50 * time.Millisecond):
					continue
				case <-t.closed:
					return
				}
			}
			t.stop(err)
			return
		}
		go t.shake(tls.Server(c, t.config))
	}
}

// isTemporary: too many open files and the like, after which http.Server would try again too.
func isTemporary(err error) bool {
	te, ok := err.(interface{ Temporary() bool })
	return ok && te.Temporary()
}

func (t *tlsListener) shake(c *tls.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), t.handshake)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		c.Close()
		return
	}
	var out net.Conn = c
	if c.ConnectionState().NegotiatedProtocol != "h2" {
		out = &TLSConn{newConn(c), c}
	}
	select {
	case t.conns <- out:
	case <-t.closed:
		c.Close()
	}
}

func (t *tlsListener) Accept() (net.Conn, error) {
	select {
	case c := <-t.conns:
		return c, nil
	case <-t.closed:
		return nil, t.err
	}
}

func (t *tlsListener) Close() error {
	err := t.Listener.Close()
	t.stop(net.ErrClosed)
	return err
}

func (t *tlsListener) stop(err error) {
	t.once.Do(func() {
		t.err = err
		close(t.closed)
	})
}

// TLSConn is a TLS connection that speaks HTTP/1 and watches its heads. http.Server finds the TLS
// state through ConnectionState.
type TLSConn struct {
	*Conn
	tls *tls.Conn
}

// ConnectionState is the TLS connection's.
func (c *TLSConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }
