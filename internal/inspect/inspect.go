// Package inspect is the second layer: is this text an attack or a leak, and what does the policy
// say about it. It reads requests, whole answers and, through output, streamed answers.
//
// It promises that every segment it is given is read before it decides; that a call is blocked when
// any finding is; that where offending bytes are taken out, the changed body is read again and found
// clean; and that in monitor mode nothing is stopped or changed. It does not find text (wire does)
// and does not know what an attack looks like (detect.Detector does).
package inspect

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/allow"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/output"
	"sallyport.dev/sallyport/internal/inspect/policy"
	"sallyport.dev/sallyport/internal/inspect/purpose"
	"sallyport.dev/sallyport/internal/wire"
)

// Mode is the master switch.
type Mode uint8

const (
	Enforce       Mode = iota // the policy acts
	EnforceStrict             // and a learned detector that cannot answer closes; the rules alone make no difference
	Monitor                   // nothing is stopped or changed; the record says what would have been
)

// Defaults of Options.
const (
	DefaultHoldTime   = 5 * time.Second
	DefaultHoldBytes  = 256 << 10
	DefaultCacheBytes = 8 << 20
)

// Options is everything an Inspector needs.
type Options struct {
	// Detector's verdict may depend on a text and its channel, and on nothing else of the segment.
	Detector detect.Detector
	Policy   *policy.Policy // nil: the built-in policy
	Mode     Mode
	// Dialects read a changed body again, to see that it is clean. Without its dialect here a body
	// is blocked where it would have been sanitised.
	Dialects map[gate.Dialect]wire.Dialect
	// HoldTime and HoldBytes bound how long, and how many raw bytes, of a streamed answer wait for
	// their verdict.
	HoldTime  time.Duration // 0: DefaultHoldTime
	HoldBytes int           // 0: DefaultHoldBytes
	// CacheBytes bounds the cache of verdicts. 0: no cache.
	CacheBytes int
	// CacheKey keys the cache. nil: a random key.
	CacheKey []byte
	// MarkUntrusted puts signs round what tools and documents say, for the model. Such a request does not
	// leave as it came.
	MarkUntrusted bool
	// Allow excuses what analysts have judged to be no attack. nil: nothing is excused.
	Allow *allow.List
	// Uninspected says what happens to parts of a streamed answer that cannot be read. nil: Flag.
	// (Of requests and whole answers the proxy decides that.)
	Uninspected func(gate.UninspectedKind) gate.Action
}

// Inspector implements gate.Stage and is safe for concurrent use.
type Inspector struct {
	opt   Options
	cache *cache
	out   output.Options
}

// New checks the options and makes an Inspector.
func New(o Options) (*Inspector, error) {
	if o.Detector == nil {
		return nil, errors.New("inspect: a detector is needed")
	}
	if o.Mode > Monitor {
		return nil, fmt.Errorf("inspect: unknown mode %d", o.Mode)
	}
	if o.HoldTime < 0 || o.HoldBytes < 0 || o.CacheBytes < 0 {
		return nil, errors.New("inspect: hold time, hold bytes and cache bytes cannot be negative")
	}
	if o.Policy == nil {
		p, err := policy.New(policy.Options{})
		if err != nil {
			return nil, fmt.Errorf("inspect: make built-in policy: %w", err)
		}
		o.Policy = p
	}
	if o.HoldTime == 0 {
		o.HoldTime = DefaultHoldTime
	}
	if o.HoldBytes == 0 {
		o.HoldBytes = DefaultHoldBytes
	}
	if o.Uninspected == nil {
		o.Uninspected = func(gate.UninspectedKind) gate.Action { return gate.Flag }
	}
	in := &Inspector{opt: o}
	if o.CacheBytes > 0 {
		key := o.CacheKey
		if key == nil {
			key = make([]byte, 32)
			rand.Read(key) // never fails (crypto/rand)
		}
		in.cache = newCache(o.CacheBytes, key)
	}
	in.out = output.Options{
		Detector: o.Detector, Find: in.find, Monitor: o.Mode == Monitor,
		HoldTime: o.HoldTime, HoldBytes: o.HoldBytes, Uninspected: o.Uninspected,
	}
	return in, nil
}

// Name implements gate.Stage.
func (in *Inspector) Name() string { return "inspect" }

// Admit implements gate.Stage: it reads every segment of x.Reading, whoever put it there, and makes
// x.Forward when the policy takes something out of x.Plain.
func (in *Inspector) Admit(ctx context.Context, x *gate.Exchange) (gate.Decision, error) {
	if x.Reading == nil {
		return gate.Decision{}, nil
	}
	c := in.call(ctx, x, gate.Request)
	out, d, err := c.decide(x.Reading, x.Plain, func(rt wire.Route, w wire.Dialect, body []byte) (*gate.Reading, error) {
		return w.ReadRequest(rt, x.Header.Get("Content-Type"), body)
	})
	if err == nil && c.changed {
		x.Forward, x.Changed = out, true
	}
	return d, err
}

// Answer decides about a whole answer, whose reading is r. out is body itself when nothing changed,
// and nil when the answer may not pass.
func (in *Inspector) Answer(ctx context.Context, x *gate.Exchange, r *gate.Reading, body []byte) (out []byte, d gate.Decision, err error) {
	if r == nil {
		return body, d, nil
	}
	status := http.StatusOK
	if x.Record != nil && x.Record.Status != 0 {
		status = x.Record.Status
	}
	c := in.call(ctx, x, gate.Answer)
	return c.decide(r, body, func(rt wire.Route, w wire.Dialect, body []byte) (*gate.Reading, error) {
		return w.ReadAnswer(rt, status, answerType(body), body)
	})
}

// purpose is what the request of a call says about where its answer may lead.
func (in *Inspector) purpose(x *gate.Exchange) *purpose.Purpose {
	if x.Reading == nil {
		return nil
	}
	return purpose.Read(x.Reading.Segments, in.opt.Detector)
}

// answerType: an answer with text that can be edited is JSON, or the plain text of a transcript.
func answerType(body []byte) string {
	for _, b := range body {
		switch b {
		case ' ', '\t', '\r', '\n':
			continue
		case '{', '[':
			return "application/json"
		}
		break
	}
	return "text/plain"
}

// Stream begins the inspection of a streamed answer.
func (in *Inspector) Stream(x *gate.Exchange, ws wire.Stream, now time.Time) *output.Stream {
	o := &in.out
	if p := in.purpose(x); p != nil {
		mine := in.out
		mine.Detector = p.Over(in.opt.Detector)
		mine.Find = func(seg *gate.Segment) []gate.Finding {
			return append(slices.Clip(in.find(seg)), p.Tainted(seg)...)
		}
		o = &mine
	}
	s := output.New(o, in.opt.Policy.Resolve(scope(x)), x.Record, ws)
	s.Excuse = in.excuse(x)
	return s
}

// maxNamed bounds how many findings of a call are named by a hash for the record alone; the record
// names about as many.
const maxNamed = 256

// excuse is the allow-list for the caller and the upstream of one call.
func (in *Inspector) excuse(x *gate.Exchange) func([]byte, *gate.Finding) string {
	list := in.opt.Allow
	if list == nil {
		return nil
	}
	left := maxNamed
	return func(span []byte, f *gate.Finding) string {
		if left--; left < 0 && list.Len() == 0 {
			return "" // a hostile text of many findings is not hashed for nothing
		}
		f.Span = list.Name(span)
		return list.Excuse(f, x.Principal.ID, x.Upstream)
	}
}

func scope(x *gate.Exchange) policy.Scope {
	s := policy.Scope{Upstream: x.Upstream, Endpoint: x.Endpoint, Key: x.Principal.ID}
	if x.Reading != nil {
		s.Model = x.Reading.Model
	}
	return s
}

// finder is find for the texts of one body.
func (in *Inspector) finder(id string) func(*gate.Segment) []gate.Finding {
	c, ok := in.opt.Detector.(detect.Caller)
	if !ok {
		return in.find
	}
	read := c.Call(id)
	return func(seg *gate.Segment) []gate.Finding { return in.findBy(read, seg) }
}

// find is Detect with a memory. What it returns is shared: never write to it.
func (in *Inspector) find(seg *gate.Segment) []gate.Finding {
	return in.findBy(in.opt.Detector.Detect, seg)
}

func (in *Inspector) findBy(read func(*gate.Segment) []gate.Finding, seg *gate.Segment) []gate.Finding {
	if len(seg.Text) == 0 {
		return nil
	}
	if in.cache == nil || len(seg.Text) < cacheMinText {
		return read(seg)
	}
	// The version is part of the key: a verdict of another version cannot be found.
	k := in.cache.keyOf(in.opt.Detector.Version(), seg)
	fs, ok := in.cache.get(k)
	if !ok {
		fs = read(seg)
		for i := range fs {
			fs[i].Path = "" // may be long, and differs from call to call
		}
		if !slices.ContainsFunc(fs, unread) {
			in.cache.put(k, fs)
		}
	}
	return fs
}

// unread says that a part of the detector did not read the text this time.
func unread(f gate.Finding) bool { return f.Category == gate.Unread }

// recovered turns a detector's panic into the failure that the table knows. The panic's value may
// hold caller text, so only errors of the runtime itself are told.
func recovered(r any) error {
	if e, ok := r.(runtime.Error); ok {
		return gate.Fail(gate.FailDetector, fmt.Errorf("detector panicked: %w", e))
	}
	return gate.Fail(gate.FailDetector, fmt.Errorf("detector panicked (%T)", r))
}
