// Package allow is what analysts have judged to be no attack: findings in a text they have seen, in a
// place they have named, until a day they have set.
//
// It promises that nothing is excused but the very text that was judged: an entry holds a keyed hash
// of it, and there is no entry without one, none that holds for ever or for more than a year, and
// none that switches a rule, a channel or a caller off. A finding that is excused stays in the
// record, with the entry that excused it. The list never holds the text itself.
package allow

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"sallyport.dev/sallyport/internal/gate"
)

// MaxSpan is the longest text that can be excused, in bytes.
const MaxSpan = 64 << 10

const (
	maxEntries = 10000
	maxWords   = 500
	maxName    = 256
)

// Entry excuses one text in one context.
type Entry struct {
	ID   string `json:"id"`
	Hash string `json:"hash"` // of the text: see Key.Hash
	// Category, Channel and, where set, Rule, Principal and Upstream are those of the finding.
	Category  gate.Category `json:"category"`
	Channel   string        `json:"channel"`
	Rule      string        `json:"rule,omitempty"`
	Principal string        `json:"principal,omitempty"` // id of a key or of a passed-through credential
	Upstream  string        `json:"upstream,omitempty"`
	Created   time.Time     `json:"created"`
	Expires   time.Time     `json:"expires"` // exclusive; at most a year after Created
	Author    string        `json:"author"`
	Reason    string        `json:"reason"`
}

// Check says what is wrong with an entry.
func (e *Entry) Check() error {
	raw, err := hex.DecodeString(e.Hash)
	_, known := gate.ParseChannel(e.Channel)
	switch {
	case err != nil || len(raw) != sha256.Size || e.Hash != strings.ToLower(e.Hash):
		return errors.New("an entry must name the text it excuses by its hash: nothing is switched off as a whole")
	case !slices.Contains(gate.Categories(), e.Category):
		return fmt.Errorf("unknown category: want one of %v", gate.Categories())
	case !known:
		return fmt.Errorf("unknown channel: want one of %v", gate.Channels())
	case e.Created.IsZero() || e.Expires.IsZero():
		return errors.New("an entry must expire")
	case !e.Expires.After(e.Created) || e.Expires.After(e.Created.AddDate(1, 0, 0)):
		return errors.New("an entry must expire within a year")
	case !word(e.ID, 64) || strings.Trim(e.ID, "0123456789abcdef") != "":
		return errors.New("an entry's id is not one")
	case !word(e.Author, maxName) || !word(e.Reason, maxWords):
		return errors.New("an entry must say who excused it and why, on one line each")
	}
	for _, s := range []string{e.Rule, e.Principal, e.Upstream} {
		if s != "" && !word(s, maxName) {
			return errors.New("a rule, principal or upstream that cannot be one")
		}
	}
	return nil
}

func word(s string, most int) bool {
	return s != "" && len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) && strings.TrimSpace(s) != ""
}

// Key keys the hashes, so that a list that leaks does not let anyone try texts on it.
type Key []byte

// NewKey derives the key of the allow-list from a secret that has other uses too.
func NewKey(secret []byte) Key {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte("sallyport allow-list key 1"))
	return m.Sum(nil)
}

// Hash is HMAC-SHA256 of the normalised text, hexadecimal; empty for a text that cannot be excused
// because it is empty or longer than MaxSpan.
func (k Key) Hash(span []byte) string {
	if len(span) > MaxSpan {
		return ""
	}
	text := normal(span)
	if len(text) == 0 {
		return ""
	}
	m := hmac.New(sha256.New, k)
	m.Write(text)
	return hex.EncodeToString(m.Sum(nil))
}

// normal undoes what differs when the same words are written again: ASCII case, canonical composition
// and runs of white space. It drops nothing else. In particular invisible characters stay: a text with
// something hidden in it is not the text that was judged. Other scripts keep their case, because
// lower case makes one letter of several (K and the Kelvin sign, I with and without dot).
func normal(span []byte) []byte {
	text := bytes.Join(bytes.Fields(norm.NFC.Bytes(span)), []byte(" "))
	for i, c := range text {
		if 'A' <= c && c <= 'Z' {
			text[i] = c + 'a' - 'A'
		}
	}
	return text
}

// List is the entries of one moment. It is immutable and safe for concurrent use.
type List struct {
	key     Key
	byHash  map[string][]Entry
	n       int
	version string
	now     func() time.Time
}

// New makes a list. Entries that have expired are left out; one that is wrong is an error.
func New(entries []Entry, key Key, now func() time.Time) (*List, error) {
	if now == nil {
		now = time.Now
	}
	l := &List{key: key, byHash: map[string][]Entry{}, now: now}
	if len(entries) > maxEntries {
		return nil, fmt.Errorf("more than %d entries", maxEntries)
	}
	sum := sha256.New()
	for i := range entries {
		e := &entries[i]
		if err := e.Check(); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		if e.Expires.After(now().AddDate(1, 0, 1)) {
			return nil, fmt.Errorf("entry %d: an entry must expire within a year", i+1)
		}
		if !e.Expires.After(now()) {
			continue
		}
		l.n++
		l.byHash[e.Hash] = append(l.byHash[e.Hash], *e)
		fmt.Fprintf(sum, "%q %q %q %q %q %q %d\n", e.Hash, e.Category, e.Channel, e.Rule, e.Principal, e.Upstream, e.Expires.UnixNano())
	}
	if l.n > 0 {
		l.version = hex.EncodeToString(sum.Sum(nil)[:16])
	}
	return l, nil
}

// Version names what the list decides; empty for a list without entries, and for nil.
func (l *List) Version() string {
	if l == nil {
		return ""
	}
	return l.version
}

// Len is the number of entries.
func (l *List) Len() int {
	if l == nil {
		return 0
	}
	return l.n
}

// Name is the hash by which the list would name a span.
func (l *List) Name(span []byte) string { return l.key.Hash(span) }

// Excuse returns the id of the entry that excuses a finding, empty when there is none. The finding's
// Span, category, rule and channel must be set.
func (l *List) Excuse(f *gate.Finding, principal, upstream string) string {
	if l == nil || f.Span == "" {
		return ""
	}
	for _, e := range l.byHash[f.Span] {
		if e.Category == f.Category && e.Channel == f.Channel.String() &&
			(e.Rule == "" || e.Rule == f.Rule) && (e.Principal == "" || e.Principal == principal) &&
			(e.Upstream == "" || e.Upstream == upstream) && l.now().Before(e.Expires) {
			return e.ID
		}
	}
	return ""
}
