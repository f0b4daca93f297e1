package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"sallyport.dev/sallyport/internal/audit"
	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/allow"
	"sallyport.dev/sallyport/internal/inspect/finding"
	"sallyport.dev/sallyport/internal/strictjson"
)

// Excuse is an analyst's verdict: what is found in this text, in this context, is no attack.
type Excuse struct {
	Text []byte
	// Call, when set, is the id of a recorded call; its findings stand in the place of Text, which the
	// record need not have kept. Channel may be empty then.
	Call string
	// Span says that Text is the very text of a finding. Otherwise the active detector reads Text, and
	// each finding that fits gets an entry.
	Span                    bool
	Category, Channel, Rule string
	Principal, Upstream     string
	Author, Reason          string
	For                     time.Duration
}

// ErrNothingFound says that there is nothing to excuse.
var ErrNothingFound = errors.New("nothing of this category, rule and channel was found in it, so there is nothing to excuse")

// Allow adds entries to the allow-list of a configuration. A running gateway takes them up within a
// second.
func Allow(ctx context.Context, cfg *config.Config, x Excuse) (added []allow.Entry, err error) {
	book, err := AllowBook(cfg)
	if err != nil {
		return nil, err
	}
	ch, ok := gate.ParseChannel(x.Channel)
	if !ok && (x.Call == "" || x.Channel != "") {
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
	var fs []gate.Finding
	if x.Call != "" {
		fs, err = recordedFindings(ctx, cfg, x.Call)
	} else {
		fs, err = foundNow(cfg, book.Key, x.Text, ch)
	}
	if err != nil {
		return nil, err
	}
	done := map[string]bool{}
	for _, f := range fs {
		if x.Category != "" && string(f.Category) != x.Category || x.Rule != "" && f.Rule != x.Rule || x.Channel != "" && f.Channel != ch {
			continue
		}
		// The entry names the rule that spoke: what another one finds in the same words was not judged.
		n := e
		n.Category, n.Rule, n.Channel, n.Hash = f.Category, f.Rule, f.Channel.String(), f.Span
		id := n.Hash + n.Rule + n.Channel
		if n.Hash == "" || done[id] {
			continue
		}
		done[id] = true
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

// foundNow is what the active detector finds in a text, each with the name of its words.
func foundNow(cfg *config.Config, key allow.Key, text []byte, ch gate.Channel) (fs []gate.Finding, err error) {
	det, err := newDetector(cfg)
	if err != nil {
		return nil, err
	}
	for _, f := range det.det.Detect(&gate.Segment{Text: text, Channel: ch, Turn: -1}) {
		f.Start, f.End = finding.Snap(text, f.Start, f.End) // as the gateway does
		f.Channel, f.Span = ch, key.Hash(text[f.Start:f.End])
		fs = append(fs, f)
	}
	return fs, nil
}

// recordedFindings is what was found in a recorded call.
func recordedFindings(ctx context.Context, cfg *config.Config, id string) (fs []gate.Finding, err error) {
	r, w := io.Pipe()
	defer r.Close()
	go func() { w.CloseWithError(audit.Export(ctx, AuditDir(cfg), w, audit.ExportOptions{})) }()
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 64<<10), 64<<20)
	for sc.Scan() {
		if !bytes.Contains(sc.Bytes(), []byte(id)) {
			continue
		}
		d, err := strictjson.Parse(sc.Bytes(), strictjson.Limits{})
		if err != nil || d.Str(d.Get(strictjson.Root, "id")) != id {
			continue
		}
		for i := range d.Children(d.Get(strictjson.Root, "findings")) {
			ch, ok := gate.ParseChannel(d.Str(d.Get(i, "channel")))
			if !ok {
				continue
			}
			fs = append(fs, gate.Finding{
				Category: gate.Category(d.Str(d.Get(i, "category"))), Rule: d.Str(d.Get(i, "rule")), Channel: ch, Span: d.Str(d.Get(i, "span")),
			})
		}
		return fs, nil
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("read record: %w", err)
	}
	return nil, errors.New("there is no call of this id in the record")
}
