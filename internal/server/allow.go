package server

import (
	"errors"
	"fmt"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/allow"
)

// Excuse is an analyst's verdict: what is found in this text, in this context, is no attack.
type Excuse struct {
	Text []byte
	// Span says that Text is the very text of a finding. Otherwise the active detector reads Text, and
	// each finding that fits gets an entry.
	Span                    bool
	Category, Channel, Rule string
	Principal, Upstream     string
	Author, Reason          string
	For                     time.Duration
}

// ErrNothingFound says that there is nothing to excuse.
var ErrNothingFound = errors.New("nothing of this category and rule is found in this text, so there is nothing to excuse")

// Allow adds entries to the allow-list of a configuration. A running gateway takes them up within a
// second.
func Allow(cfg *config.Config, x Excuse) (added []allow.Entry, err error) {
	book, err := AllowBook(cfg)
	if err != nil {
		return nil, err
	}
	ch, ok := gate.ParseChannel(x.Channel)
	if !ok {
		return nil, fmt.Errorf("unknown channel %q: want one of %v", x.Channel, gate.Channels())
	}
	e := allow.Entry{
		Category: gate.Category(x.Category), Channel: x.Channel, Rule: x.Rule, Principal: x.Principal, Upstream: x.Upstream,
		Expires: time.Now().Add(x.For), Author: x.Author, Reason: x.Reason,
	}
	if x.Span {
		if e.Hash = book.Key.Hash(x.Text); e.Hash == "" {
			return nil, fmt.Errorf("the text is empty or longer than %d bytes", allow.MaxSpan)
		}
		e, err = book.Add(e)
		return []allow.Entry{e}, err
	}
	det, err := newDetector(cfg)
	if err != nil {
		return nil, err
	}
	done := map[string]bool{}
	for _, f := range det.det.Detect(&gate.Segment{Text: x.Text, Channel: ch, Turn: -1}) {
		if x.Category != "" && string(f.Category) != x.Category || x.Rule != "" && f.Rule != x.Rule || f.Start < 0 || f.End > len(x.Text) || f.Start >= f.End {
			continue
		}
		// The entry names the rule that spoke: what another one finds in the same words was not judged.
		n := e
		n.Category, n.Rule, n.Hash = f.Category, f.Rule, book.Key.Hash(x.Text[f.Start:f.End])
		if n.Hash == "" || done[n.Hash+n.Rule] {
			continue
		}
		done[n.Hash+n.Rule] = true
		if n, err = book.Add(n); err != nil {
			return added, err
		}
		added = append(added, n)
	}
	if len(added) == 0 {
		return nil, ErrNothingFound
	}
	return added, nil
}
