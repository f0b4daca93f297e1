package proxy

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

// leastMasked is the shortest of the provider's secrets that is looked for in its answers: a shorter one
// would be found where it is none.
const leastMasked = 8

// secrets are the texts that went to the provider and belong to the gateway, not to the caller.
func (c *call) secrets() (out [][]byte) {
	if s := c.credential.Reveal(); len(s) >= leastMasked {
		out = append(out, []byte(s))
	}
	for _, v := range c.up.Secrets {
		if s := v.Reveal(); len(s) >= leastMasked {
			out = append(out, []byte(s))
		}
	}
	return out
}

// maskHeader overwrites the gateway's secrets where a provider repeats them in a header or trailer.
func (c *call) maskHeader(h http.Header) {
	secrets := c.secrets()
	for _, vs := range h {
		for i, v := range vs {
			for _, s := range secrets {
				if strings.Contains(v, string(s)) {
					v = strings.ReplaceAll(v, string(s), strings.Repeat("*", len(s)))
					c.masked.Store(true)
				}
			}
			vs[i] = v
		}
	}
}

// masking overwrites the gateway's secrets where a provider repeats them in its answer, as some do when
// they refuse a key. As many bytes go out as came in. What may be the beginning of one, at the end of what has
// come, waits for the rest.
type masking struct {
	io.ReadCloser
	secrets [][]byte
	masked  *atomic.Bool // set once something was overwritten
	end     func()       // called when all was read, and the trailers are there
	ready   []byte       // to be given out
	held    []byte       // may be the beginning of a secret
	err     error
}

func (m *masking) Read(p []byte) (int, error) {
	for len(m.ready) == 0 {
		if m.err != nil {
			return 0, m.err
		}
		if len(p) == 0 {
			return 0, nil
		}
		n, err := m.ReadCloser.Read(p)
		if m.err = err; err == io.EOF {
			m.end()
		}
		if len(m.held) == 0 { // mostly: nothing is copied
			m.overwrite(p[:n])
			if k := m.begins(p[:n]); k == 0 || err != nil {
				return n, err
			}
		}
		all := append(m.held, p[:n]...)
		m.overwrite(all)
		k := m.begins(all)
		if err != nil {
			k = 0
		}
		m.ready = append([]byte(nil), all[:len(all)-k]...)
		m.held = append([]byte(nil), all[len(all)-k:]...)
	}
	n := copy(p, m.ready)
	if m.ready = m.ready[n:]; len(m.ready) == 0 && m.err != nil {
		return n, m.err
	}
	return n, nil
}

func (m *masking) overwrite(b []byte) {
	for _, s := range m.secrets {
		for i := bytes.Index(b, s); i >= 0; i = bytes.Index(b, s) {
			for j := range s {
				b[i+j] = '*'
			}
			m.masked.Store(true)
		}
	}
}

// begins is the length of the longest end of b that is the beginning of a secret, and not all of it.
func (m *masking) begins(b []byte) int {
	most := 0
	for _, s := range m.secrets {
		for k := min(len(s)-1, len(b)); k > most; k-- {
			if b[len(b)-k] == s[0] && bytes.Equal(b[len(b)-k:], s[:k]) {
				most = k
			}
		}
	}
	return most
}
