package audit

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/mod/sumdb/tlog"

	"sallyport.dev/sallyport/internal/gate"
)

// Event is one record, read back. Kind says which of Record, Note, Gap and Segment is set.
type Event struct {
	Seq       int64
	Time      time.Time // when it was written
	Kind      string    // begin, finish, note, gap, segment
	ClockBack bool      // the clock had gone back when it was written
	Batch     int64     // first record that was not durable when this one was written
	Prev      tlog.Hash
	Hash      tlog.Hash

	Record *gate.Record // begin, finish
	Begun  int64        // finish: sequence number of its begin; 0: a call that never began
	// What the record could not keep whole.
	RequestCut, AnswerCut *Cut
	UninspectedOmitted    int

	Note    *Note
	Gap     *Gap
	Segment *Segment
}

// Note is an administrative event.
type Note struct {
	Event  string
	Fields map[string]string
}

// Gap says that the log did not work for a while.
type Gap struct {
	State   string // open: it stops working now; closed: it works again
	Reason  string // disk_full, disk, queue
	Error   string
	Since   time.Time
	Until   time.Time // of a closed gap
	Refused int64     // records refused; their callers were told
	Lost    int64     // records accepted in best-effort mode and lost
	IDs     []string  // of the calls concerned, the first ones
}

// Segment begins a file and carries what is needed to go on from it.
type Segment struct {
	Version int
	Origin  string
	Tree    []tlog.Hash // compact range of the records before it, largest subtree first
	Open    []OpenCall  // calls begun before it and not finished
}

// OpenCall is a call that has begun and not ended.
type OpenCall struct {
	ID  string
	Seq int64 // of its begin
}

func (e *Event) call() call {
	return call{e.Record, e.RequestCut, e.AnswerCut, e.UninspectedOmitted}
}

type lineJSON struct {
	Seq       int64     `json:"seq"`
	Time      time.Time `json:"time"`
	Kind      string    `json:"kind"`
	Begun     int64     `json:"begun"`
	ClockBack bool      `json:"clock_back"`
	Batch     int64     `json:"batch"`
	Prev      string    `json:"prev"`
	Hash      string    `json:"hash"`

	callJSON

	Event  string            `json:"event"`
	Fields map[string]string `json:"fields"`

	State   string    `json:"state"`
	Reason  string    `json:"reason"`
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until"`
	Refused int64     `json:"refused"`
	Lost    int64     `json:"lost"`
	IDs     []string  `json:"ids"`

	Version int      `json:"version"`
	Origin  string   `json:"origin"`
	Tree    []string `json:"tree"`
	Open    []string `json:"open"`
	OpenSeq []int64  `json:"open_seq"`
}

type callJSON struct {
	ID        string    `json:"id"`
	Received  time.Time `json:"received"`
	Principal struct {
		Kind string `json:"kind"`
		ID   string `json:"id"`
		Name string `json:"name"`

		Tenant     string `json:"tenant"`
		Team       string `json:"team"`
		Holder     string `json:"holder"`
		OnBehalfOf string `json:"on_behalf_of"`
	} `json:"principal"`
	Client             netip.Addr        `json:"client"`
	Upstream           string            `json:"upstream"`
	Dialect            gate.Dialect      `json:"dialect"`
	Endpoint           string            `json:"endpoint"`
	Method             string            `json:"method"`
	Path               string            `json:"path"`
	Model              string            `json:"model"`
	Streamed           bool              `json:"streamed"`
	Policy             string            `json:"policy"`
	Mode               string            `json:"mode"`
	Findings           []findingJSON     `json:"findings"`
	FindingsOmitted    int               `json:"findings_omitted"`
	Uninspected        []uninspectedJSON `json:"uninspected"`
	UninspectedOmitted int               `json:"uninspected_omitted"`
	Decision           struct {
		Verdict string    `json:"verdict"`
		Stage   string    `json:"stage"`
		Reason  string    `json:"reason"`
		Code    gate.Code `json:"code"`
		Status  *int      `json:"status"`
		Param   string    `json:"param"`
	} `json:"decision"`
	WouldBe   string       `json:"would_be"`
	Sanitized bool         `json:"sanitized"`
	Status    int          `json:"status"`
	Outcome   gate.Outcome `json:"outcome"`
	Error     string       `json:"error"`
	Usage     struct {
		Input       int `json:"input"`
		Output      int `json:"output"`
		CachedInput int `json:"cached_input"`
		Reasoning   int `json:"reasoning"`
		CacheWrite  int `json:"cache_write"`

		CacheWriteShort int    `json:"cache_write_short"`
		AudioInput      int    `json:"audio_input"`
		ImageInput      int    `json:"image_input"`
		AudioOutput     int    `json:"audio_output"`
		Searches        int    `json:"searches"`
		Tier            string `json:"tier"`
	} `json:"usage"`
	Spend struct {
		Tokens    int64 `json:"tokens"`
		Cost      int64 `json:"cost"`
		Estimated bool  `json:"estimated"`
		Guessed   bool  `json:"guessed"`
	} `json:"spend"`
	Finish       string `json:"finish"`
	RequestBytes int64  `json:"request_bytes"`
	ForwardBytes int64  `json:"forward_bytes"`
	AnswerBytes  int64  `json:"answer_bytes"`
	SentBytes    int64  `json:"sent_bytes"`
	AnswerText   int64  `json:"answer_text"`
	Admitted     int64  `json:"admitted_us"`
	Begun        int64  `json:"begun_us"`
	FirstByte    int64  `json:"first_byte_us"`
	Finished     int64  `json:"finished_us"`
	Content      struct {
		Mode       string `json:"mode"`
		Request    string `json:"request"`
		RequestCut *Cut   `json:"request_cut"`
		Answer     string `json:"answer"`
		AnswerCut  *Cut   `json:"answer_cut"`
	} `json:"content"`
}

type findingJSON struct {
	Category  gate.Category `json:"category"`
	Rule      string        `json:"rule"`
	Direction string        `json:"direction"`
	Channel   string        `json:"channel"`
	Path      string        `json:"path"`
	Start     int           `json:"start"`
	End       int           `json:"end"`
	View      string        `json:"view"`
	Score     float64       `json:"score"`
	Action    string        `json:"action"`
	Span      string        `json:"span"`
	Excused   string        `json:"excused"`
}

type uninspectedJSON struct {
	Kind      string `json:"kind"`
	Direction string `json:"direction"`
	Path      string `json:"path"`
	Bytes     int    `json:"bytes"`
	Action    string `json:"action"`
}

// Decode reads one line, without its newline. It checks the line's own hash and its form, not its
// place in the chain.
func Decode(line []byte) (*Event, error) {
	return newSealer().decode(line)
}

func (s *sealer) decode(line []byte) (*Event, error) {
	h, err := s.head(line)
	if err != nil {
		return nil, err
	}
	var j lineJSON
	if err := json.Unmarshal(line, &j, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: %w", errShape, err)
	}
	if j.Seq != h.seq || j.Kind != h.kind || j.ID != h.id || j.Begun != h.begun || j.Batch != h.batch {
		return nil, errShape
	}
	e := &Event{Seq: j.Seq, Time: j.Time, Kind: j.Kind, ClockBack: j.ClockBack, Batch: j.Batch,
		Prev: h.prev, Hash: h.leaf}
	switch j.Kind {
	case kindBegin, kindFinish:
		e.Begun = j.Begun
		e.RequestCut, e.AnswerCut = j.Content.RequestCut, j.Content.AnswerCut
		e.UninspectedOmitted = j.UninspectedOmitted
		e.Record, err = j.record()
	case kindNote:
		e.Note = &Note{j.Event, j.Fields}
	case kindGap:
		e.Gap = &Gap{j.State, j.Reason, j.Error, j.Since, j.Until, j.Refused, j.Lost, j.IDs}
	case kindSegment:
		e.Segment, err = j.segment()
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (j *lineJSON) segment() (*Segment, error) {
	if len(j.Open) != len(j.OpenSeq) {
		return nil, errShape
	}
	g := &Segment{Version: j.Version, Origin: j.Origin}
	for _, t := range j.Tree {
		h, err := parseHash([]byte(t))
		if err != nil {
			return nil, err
		}
		g.Tree = append(g.Tree, h)
	}
	for i, id := range j.Open {
		g.Open = append(g.Open, OpenCall{id, j.OpenSeq[i]})
	}
	return g, nil
}

var errWord = errors.New("a word that this release does not know")

func (j *callJSON) record() (*gate.Record, error) {
	r := &gate.Record{
		ID: j.ID, Received: j.Received, ClientAddr: j.Client,
		Principal: gate.Principal{
			Kind: j.Principal.Kind, ID: j.Principal.ID, Name: j.Principal.Name,
			Tenant: j.Principal.Tenant, Team: j.Principal.Team, Holder: j.Principal.Holder, OnBehalfOf: j.Principal.OnBehalfOf,
		},
		Upstream: j.Upstream, Dialect: j.Dialect, Endpoint: j.Endpoint, Method: j.Method, Path: j.Path,
		Model: j.Model, Streamed: j.Streamed, Policy: j.Policy, Mode: j.Mode,
		MoreFindings: j.FindingsOmitted, Sanitized: j.Sanitized, Status: j.Status, Outcome: j.Outcome, Error: j.Error,
		Usage: gate.Usage{Input: j.Usage.Input, Output: j.Usage.Output, CachedInput: j.Usage.CachedInput, Reasoning: j.Usage.Reasoning, CacheWrite: j.Usage.CacheWrite,
			CacheWriteShort: j.Usage.CacheWriteShort, AudioInput: j.Usage.AudioInput, ImageInput: j.Usage.ImageInput, AudioOutput: j.Usage.AudioOutput,
			Searches: j.Usage.Searches, Tier: j.Usage.Tier},
		Spend:  gate.Spend(j.Spend),
		Finish: j.Finish, RequestBytes: j.RequestBytes, ForwardBytes: j.ForwardBytes,
		AnswerBytes: j.AnswerBytes, SentBytes: j.SentBytes, AnswerText: j.AnswerText,
		Admitted: time.Duration(j.Admitted) * time.Microsecond, Begun: time.Duration(j.Begun) * time.Microsecond,
		FirstByte: time.Duration(j.FirstByte) * time.Microsecond, Finished: time.Duration(j.Finished) * time.Microsecond,
		Content: gate.Content{Mode: j.Content.Mode, Request: j.Content.Request, Answer: j.Content.Answer},
	}
	ok := true
	known := func(o bool) { ok = ok && o }
	for _, f := range j.Findings {
		g := gate.Finding{Category: f.Category, Rule: f.Rule, Path: f.Path, Start: f.Start, End: f.End, View: f.View, Score: f.Score, Span: f.Span, Excused: f.Excused}
		var o bool
		g.Direction, o = gate.ParseDirection(f.Direction)
		known(o)
		g.Channel, o = gate.ParseChannel(f.Channel)
		known(o)
		g.Action, o = gate.ParseAction(f.Action)
		known(o)
		r.Findings = append(r.Findings, g)
	}
	for _, u := range j.Uninspected {
		v := gate.Uninspected{Path: u.Path, Bytes: u.Bytes}
		var o bool
		v.Kind, o = gate.ParseUninspectedKind(u.Kind)
		known(o)
		v.Direction, o = gate.ParseDirection(u.Direction)
		known(o)
		v.Action, o = gate.ParseAction(u.Action)
		known(o)
		r.Uninspected = append(r.Uninspected, v)
	}
	d, o := gate.ParseAction(j.Decision.Verdict)
	known(o)
	r.Decision = gate.Decision{Verdict: d, Stage: j.Decision.Stage, Reason: j.Decision.Reason}
	if j.Decision.Status != nil {
		r.Decision.Problem = &gate.Problem{Status: *j.Decision.Status, Code: j.Decision.Code, Param: j.Decision.Param}
	}
	if j.WouldBe != "" {
		r.WouldBe, o = gate.ParseAction(j.WouldBe)
		known(o)
	}
	if !ok {
		return nil, errWord
	}
	return r, nil
}
