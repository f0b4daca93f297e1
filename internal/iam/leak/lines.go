// Package leak knows the API keys that were found in public: in a repository, a paste, a log. The list
// is a text file that somebody else gives us, of any size and quality. A line is one of
//
//	sp_live_...          a whole key, alone or anywhere in the line
//	<64 hexadecimal>     SHA-256 of a whole key, "sha256:" before it allowed
//	# ...                a comment
//
// Keys are not kept in the clear: of a whole key the id and the HMAC under the gateway's pepper remain,
// which is what the key store has too, so that a leaked key is known before it is ever used. Of a hash
// nothing can be known but when the key is presented.
package leak

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"sallyport.dev/sallyport/internal/iam/apikey"
)

const (
	// MaxLine is the longest line that is read, in bytes; of a longer one nothing is.
	MaxLine = 4096
	// MaxEntries is how many keys and hashes a list may hold, MaxHits how many hits Scan returns.
	MaxEntries = 10_000_000
	MaxHits    = 100_000
)

// ErrTooMany refuses a list beyond the bounds: a part of it would look like the whole.
var ErrTooMany = fmt.Errorf("leak: the list holds more than %d keys", MaxEntries)

// Counts is what a file held.
type Counts struct {
	Lines   int // all
	Keys    int // whole keys
	Digests int // SHA-256 of keys
	Bad     int // lines that were neither, or too long
}

// read gives each whole key and each digest to f with the number of its line. The errors hold no
// content.
func read(ctx context.Context, r io.Reader, key func(line int, t apikey.Token) error, digest func(d [sha256.Size]byte) error) (Counts, error) {
	var c Counts
	br := bufio.NewReaderSize(r, MaxLine+2) // room for the line break
	for {
		line, err := br.ReadSlice('\n')
		if len(line) == 0 && err == io.EOF {
			return c, nil
		}
		c.Lines++
		if c.Lines%4096 == 1 && ctx.Err() != nil {
			return c, ctx.Err()
		}
		long := false
		for err == bufio.ErrBufferFull {
			long = true
			_, err = br.ReadSlice('\n')
		}
		if err != nil && err != io.EOF {
			return c, fmt.Errorf("leak: read the list: %w", err)
		}
		if c.Lines == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff")) // a byte order mark
		}
		line = bytes.TrimSpace(line)
		switch {
		case long || len(line) > MaxLine:
			c.Bad++
		case len(line) == 0 || line[0] == '#':
		default:
			if err := one(&c, line, key, digest); err != nil {
				return c, err
			}
		}
		if err == io.EOF {
			return c, nil
		}
	}
}

func one(c *Counts, line []byte, key func(int, apikey.Token) error, digest func([sha256.Size]byte) error) error {
	hexed := bytes.TrimPrefix(line, []byte("sha256:"))
	if len(hexed) == 2*sha256.Size {
		var d [sha256.Size]byte
		if _, err := hex.Decode(d[:], hexed); err == nil {
			c.Digests++
			return digest(d)
		}
	}
	found := false
	for s := string(line); ; {
		i := strings.Index(s, apikey.Prefix)
		if i < 0 || len(s)-i < apikey.Len {
			break
		}
		s = s[i:]
		t, ok := apikey.Parse(s[:apikey.Len])
		if !ok {
			s = s[len(apikey.Prefix):]
			continue
		}
		found = true
		c.Keys++
		if err := key(c.Lines, t); err != nil {
			return err
		}
		s = s[apikey.Len:]
	}
	if !found {
		c.Bad++
	}
	return nil
}

// Hit is a key that was found. It holds no secret.
type Hit struct {
	Line int    `json:"line"` // from 1
	ID   string `json:"id"`   // the key's public id
}

var errStop = errors.New("enough")

// Scan asks match about every whole key in r and returns those it knows: for a key, match looks its id
// up and compares the HMAC (apikey.Hasher). It keeps none of them. After MaxHits it stops.
func Scan(ctx context.Context, r io.Reader, match func(apikey.Token) bool) ([]Hit, Counts, error) {
	var hits []Hit
	c, err := read(ctx, r, func(line int, t apikey.Token) error {
		if match(t) {
			hits = append(hits, Hit{line, strings.Clone(t.ID)}) // t.ID alone would hold the whole key
		}
		if len(hits) >= MaxHits {
			return errStop
		}
		return nil
	}, func([sha256.Size]byte) error { return nil })
	if errors.Is(err, errStop) {
		err = nil
	}
	return hits, c, err
}
