package shadow

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/wire"
)

type job struct {
	id     string
	at     time.Time
	dir    gate.Direction
	active Verdict
	e      exchange
	answer *gate.Reading
	stream wire.Stream
	body   []byte
	bytes  int64
}

func (l *Live) job(x *gate.Exchange, dir gate.Direction, active Verdict) *job {
	return &job{
		id: x.ID, at: time.Now(), dir: dir, active: active,
		e: exchange{
			dialect: x.Dialect, method: x.Method, path: x.Path, endpoint: x.Endpoint, upstream: x.Upstream,
			contentType: x.Header.Get("Content-Type"), principal: gate.Principal{Kind: x.Principal.Kind, ID: x.Principal.ID},
			status: x.Record.Status,
		},
	}
}

// hand queues a job where there is room.
func (l *Live) hand(j *job) {
	if l.waiting.Add(j.bytes) <= l.o.Bytes {
		select {
		case l.jobs <- j:
			return
		default:
		}
	}
	l.waiting.Add(-j.bytes)
	l.behind.Add(1)
}

func modelOf(x *gate.Exchange) string {
	if x.Reading == nil {
		return ""
	}
	return x.Reading.Model
}

// clone copies a reading that may alias buffers of the proxy.
func clone(r *gate.Reading) *gate.Reading {
	c := *r
	c.Segments = slices.Clone(r.Segments)
	for i := range c.Segments {
		c.Segments[i].Text = bytes.Clone(c.Segments[i].Text)
		c.Segments[i].Joined = slices.Clone(c.Segments[i].Joined)
	}
	c.Uninspected = nil
	return &c
}

// read lets the candidate decide about one call. A detector that panics fails, and nothing else does.
func (l *Live) read(ctx context.Context, j *job) {
	defer func() {
		if recover() != nil {
			l.o.Journal.skip("the candidate failed", 1)
		}
	}()
	var v Verdict
	var err error
	body := j.body
	switch {
	case j.stream != nil:
		v, err = judgeStream(l.o.Candidate, &j.e, j.stream, j.body)
	case j.answer != nil:
		v, err = judgeAnswer(ctx, l.o.Candidate, &j.e, j.answer, j.body)
	default:
		body = j.e.plain
		v, err = judgeRequest(ctx, l.o.Candidate, &j.e)
	}
	if err != nil {
		l.o.Journal.skip("the candidate failed", 1)
		return
	}
	m := hmac.New(sha256.New, l.o.Key)
	m.Write(body)
	l.o.Journal.pair(Change{
		Time: j.at.UTC(), ID: j.id, Direction: j.dir.String(), Text: hex.EncodeToString(m.Sum(nil)), Active: j.active, Candidate: v,
	})
}
