package simulate

import (
	"crypto/sha256"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Seen is one request exactly as it arrived.
type Seen struct {
	Method string
	URI    string // request target, path and query
	Proto  string
	Host   string
	Header http.Header
	Body   []byte // never write to it
	SHA256 [sha256.Size]byte
	At     time.Time // when the body was complete
}

// End is the end of one request.
type End struct {
	Seen Seen
	Left bool // the client left before the answer was complete
	At   time.Time
}

func newSeen(r *http.Request, body []byte) Seen {
	return Seen{
		Method: r.Method, URI: r.RequestURI, Proto: r.Proto, Host: r.Host,
		Header: r.Header.Clone(), Body: body, SHA256: sha256.Sum256(body), At: time.Now(),
	}
}

// recorder remembers the last requests.
type recorder struct {
	mu   sync.Mutex
	keep int
	seen []Seen
}

func (r *recorder) add(s Seen) {
	if r.keep == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) >= r.keep {
		r.seen = slices.Delete(r.seen, 0, len(r.seen)-r.keep+1)
	}
	r.seen = append(r.seen, s)
}

// Seen returns the requests that have arrived, oldest first, at most Options.Keep.
func (s *Simulator) Seen() []Seen {
	s.recorder.mu.Lock()
	defer s.recorder.mu.Unlock()
	return slices.Clone(s.recorder.seen)
}

// Forget empties what Seen remembers.
func (s *Simulator) Forget() {
	s.recorder.mu.Lock()
	defer s.recorder.mu.Unlock()
	s.recorder.seen = nil
}
