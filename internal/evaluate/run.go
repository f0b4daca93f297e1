package evaluate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"runtime"
	"sync"
	"time"

	"sallyport.dev/sallyport/internal/gate"
)

// run is one evaluation.
type run struct {
	o       *Options
	c       *corpus
	systems []*outcome
	misses  *worst // attacks by lowest score
	alarms  *worst // benign rows by highest score
	report  *Report
}

// outcome is what one detector said of every row.
type outcome struct {
	name, version    string
	answers          []answer
	scores, verdicts bool // it gives them
	failed           int
	err              error
	wall             time.Duration
	timed            bool
}

// answer is an Answer in fewer bytes.
type answer struct {
	score   float64
	took    time.Duration
	verdict gate.Action
	flags   uint8
}

const (
	answered uint8 = 1 << iota
	hasScore
	hasVerdict
)

func newRun(o *Options, c *corpus) *run {
	return &run{o: o, c: c, report: &Report{}, misses: &worst{most: o.Errors, low: true}, alarms: &worst{most: o.Errors}}
}

func (r *run) all(ctx context.Context) (*Report, error) {
	if r.o.Scorer != nil {
		s := &outcome{name: r.o.Name, version: r.o.Version, scores: true, verdicts: true, timed: true}
		if err := r.product(ctx, s); err != nil {
			return nil, err
		}
		r.systems = append(r.systems, s)
	}
	for _, p := range r.o.Peers {
		s := &outcome{name: p.Name()}
		if err := r.peer(ctx, p, s); err != nil {
			return nil, err
		}
		r.systems = append(r.systems, s)
	}
	reported := 0
	for i := range r.c.rows {
		if r.c.rows[i].report {
			reported++
		}
	}
	if reported == 0 {
		return nil, ErrNoRows
	}
	r.describe(reported)
	if len(r.o.Transforms)+len(r.o.Lookalikes) > 0 {
		if err := r.evasion(ctx); err != nil {
			return nil, err
		}
	}
	return r.report, nil
}

// task is one text on its way through the detector: row i as it is, or rewritten.
type task struct {
	i, transform int // transform is -1 for the text as it is
	row          *Row
	done         Answer
}

// pool scores what produce emits, on every core. collect is called from one goroutine, in any order.
// No more than a few texts for each core are held at a time.
func (r *run) pool(ctx context.Context, produce func(emit func(*task) error) error, collect func(*task)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work, done := make(chan *task, r.o.Workers), make(chan *task, r.o.Workers)
	var wg sync.WaitGroup
	for range r.o.Workers {
		wg.Go(func() {
			for t := range work {
				r.score(t)
				done <- t
			}
		})
	}
	produced := make(chan error, 1)
	go func() {
		err := produce(func(t *task) error {
			select {
			case work <- t:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		close(work)
		wg.Wait()
		close(done)
		produced <- err
	}()
	for t := range done {
		collect(t)
		t.row = nil
	}
	return <-produced
}

// score never panics.
func (r *run) score(t *task) {
	defer func() {
		if p := recover(); p != nil {
			what := "the detector failed on this row"
			if e, ok := p.(runtime.Error); ok {
				what += ": " + e.Error()
			}
			t.done = Answer{Err: errors.New(what)}
		}
	}()
	row := t.row
	if t.transform >= 0 {
		tr, _ := r.transform(t.transform)
		rewritten := *row
		rewritten.Text = []byte(tr.Apply(string(row.Text), r.o.Seed+uint64(t.i)))
		row = &rewritten
	}
	begun := time.Now()
	score, verdict, err := r.o.Scorer.Score(row)
	took := time.Since(begun)
	if err == nil && (math.IsNaN(score) || math.IsInf(score, 0)) {
		err = errors.New("the score is not a finite number")
	}
	action, ok := gate.ParseAction(verdict)
	if err == nil && !ok {
		err = errors.New("the verdict is not one of allow, flag, sanitize and block")
	}
	if err != nil {
		t.done = Answer{Err: err}
		return
	}
	t.done = Answer{Score: score, Verdict: action, HasScore: true, HasVerdict: true, Took: took}
}

// product judges every row with the detector itself.
func (r *run) product(ctx context.Context, s *outcome) error {
	tell := r.progress(s.name)
	defer tell.end()
	begun := time.Now()
	err := r.pool(ctx, func(emit func(*task) error) error {
		return r.c.each(ctx, func(row *Row) error { return emit(&task{i: row.index, transform: -1, row: row}) })
	}, func(t *task) {
		s.put(t.i, t.done)
		if t.done.Err != nil {
			r.problem(s.name, t.row, t.done.Err)
		} else {
			r.remember(t)
		}
		tell.step(1, r.c.done())
	})
	s.wall = time.Since(begun)
	s.grow(len(r.c.rows))
	return err
}

// peer judges every row with another detector. Its failure is part of the report; the end of ctx and
// a file that cannot be read are not.
func (r *run) peer(ctx context.Context, p Peer, s *outcome) error {
	tell := r.progress(s.name)
	defer tell.end()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex // rows may be drawn in one goroutine and answered in another
	where := map[int]*Row{}
	rows := iter.Seq2[int, *Row](func(yield func(int, *Row) bool) {
		stop := errors.New("stop")
		err := r.c.each(ctx, func(row *Row) error {
			mu.Lock()
			where[row.index] = &Row{File: row.File, Line: row.Line}
			mu.Unlock()
			if !yield(row.index, row) {
				return stop
			}
			return nil
		})
		if err != nil && !errors.Is(err, stop) {
			cancel(err)
		}
	})
	begun := time.Now()
	err := p.Judge(ctx, rows, func(i int, a Answer) {
		mu.Lock()
		at := where[i]
		delete(where, i)
		mu.Unlock()
		if at == nil {
			return
		}
		if a.HasScore && (math.IsNaN(a.Score) || math.IsInf(a.Score, 0)) {
			a.Err = errors.New("the score is not a finite number")
		}
		if a.Err == nil && !a.HasScore && !a.HasVerdict {
			a.Err = errors.New("neither a score nor a verdict")
		}
		if a.Err != nil {
			r.problem(s.name, at, a.Err)
		}
		s.scores, s.verdicts = s.scores || a.HasScore, s.verdicts || a.HasVerdict
		s.timed = s.timed || a.Took > 0
		s.put(i, a)
		tell.step(1, r.c.done())
	})
	s.wall = time.Since(begun)
	s.version = p.Version()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if !r.c.known { // the first to read, and it gave up: the rows are needed all the same
		r.c.rows, r.c.tallys = nil, nil
		return fmt.Errorf("%s: %w", Plain(s.name), errors.Join(errors.New("the rows were not read to their end"), err))
	}
	s.err = err
	s.grow(len(r.c.rows))
	for i := range s.answers {
		if s.answers[i].flags == 0 {
			s.failed++
		}
	}
	return nil
}

func (s *outcome) grow(n int) {
	for len(s.answers) < n {
		s.answers = append(s.answers, answer{})
	}
}

func (s *outcome) put(i int, a Answer) {
	s.grow(i + 1)
	b := answer{score: a.Score, took: a.Took, verdict: a.Verdict, flags: answered}
	if a.Err != nil {
		s.failed++
	} else {
		if a.HasScore {
			b.flags |= hasScore
		}
		if a.HasVerdict {
			b.flags |= hasVerdict
		}
	}
	s.answers[i] = b
}

func (r *run) problem(system string, row *Row, err error) {
	if r.o.Problem != nil {
		r.o.Problem(Problem{System: system, File: row.File, Line: row.Line, What: err.Error()})
	}
}

// remember keeps the rows that the detector gets most wrong.
func (r *run) remember(t *task) {
	if r.o.Errors <= 0 || !r.o.Where.Match(t.row) {
		return
	}
	switch t.row.Class() {
	case Positive:
		r.misses.offer(t)
	case Negative:
		r.alarms.offer(t)
	}
}

// meter tells of the progress of one step.
type meter struct {
	tell  func(Progress)
	p     Progress
	begun time.Time
	last  time.Time
}

func (r *run) progress(step string) *meter {
	now := time.Now()
	return &meter{tell: r.o.Progress, p: Progress{Step: step}, begun: now, last: now}
}

func (m *meter) step(rows int, done float64) {
	m.p.Rows += rows
	if m.tell == nil || m.p.Rows%16 != 0 {
		return
	}
	if now := time.Now(); now.Sub(m.last) >= 200*time.Millisecond {
		m.last, m.p.Done, m.p.Elapsed = now, done, now.Sub(m.begun)
		m.tell(m.p)
	}
}

func (m *meter) end() {
	if m.tell != nil {
		m.p.Done, m.p.Elapsed = 1, time.Since(m.begun)
		m.tell(m.p)
	}
}
