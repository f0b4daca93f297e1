package audit

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// States and reasons of a gap.
const (
	gapOpen   = "open"
	gapClosed = "closed"

	gapFull  = "disk_full"
	gapDisk  = "disk"
	gapQueue = "queue" // records waited too long or were too many
)

const (
	gapIDs      = 32      // ids named in a gap record
	gapFinishes = 1 << 20 // refused ends remembered
)

// missing is what was not recorded.
type missing struct {
	since         time.Time
	refused, lost int64
	ids           []string
	finishes      []string // calls whose end was refused
	err           string   // the first error
}

// gapCounter counts what is not recorded. It is used only where something already failed, so its
// lock is not on the way of a call that goes well.
type gapCounter struct {
	pending atomic.Bool
	now     func() time.Time
	mu      sync.Mutex
	m       missing
}

func (g *gapCounter) add(kind, id string, lost bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.m.refused+g.m.lost == 0 {
		g.m.since, g.m.err = g.now(), err.Error()
	}
	if lost {
		g.m.lost++
	} else {
		g.m.refused++
	}
	if id != "" && len(g.m.ids) < gapIDs {
		g.m.ids = append(g.m.ids, id)
	}
	if kind == kindFinish && len(g.m.finishes) < gapFinishes {
		g.m.finishes = append(g.m.finishes, id)
	}
	g.pending.Store(true)
}

func (g *gapCounter) take() missing {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.m
	g.m = missing{}
	g.pending.Store(false)
	return m
}

// restore puts back what could not be written.
func (g *gapCounter) restore(m missing) {
	if m.refused+m.lost == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	m.refused += g.m.refused
	m.lost += g.m.lost
	m.ids = append(m.ids, g.m.ids[:min(len(g.m.ids), gapIDs-len(m.ids))]...)
	m.finishes = append(m.finishes, g.m.finishes...)
	g.m = m
	g.pending.Store(true)
}

// appendGap appends the members of a gap record.
func appendGap(b []byte, g *Gap) []byte {
	b = text(b, "state", g.State, maxName)
	b = text(b, "reason", g.Reason, maxName)
	b = text(b, "error", g.Error, maxText)
	b = append(b, `,"since":"`...)
	b = append(appendTime(b, g.Since), '"')
	if !g.Until.IsZero() {
		b = append(b, `,"until":"`...)
		b = append(appendTime(b, g.Until), '"')
	}
	b = append(b, `,"refused":`...)
	b = strconv.AppendInt(b, g.Refused, 10)
	b = append(b, `,"lost":`...)
	b = strconv.AppendInt(b, g.Lost, 10)
	for i, id := range g.IDs {
		if i == 0 {
			b = append(b, `,"ids":[`...)
		} else {
			b = append(b, ',')
		}
		b = appendString(b, id)
	}
	if len(g.IDs) > 0 {
		b = append(b, ']')
	}
	return b
}

// confess writes a gap record with what is missing so far. With the gap closed, calls whose end is
// among it will be ended by the log unless their callers come again.
func (w *writer) confess(g Gap) error {
	m := w.l.gap.take()
	if g.Since.IsZero() {
		g.Since = m.since
	}
	if g.Error == "" {
		g.Error = m.err
	}
	g.Refused, g.Lost, g.IDs = m.refused, m.lost, m.ids
	w.start()
	if g.State == gapClosed {
		g.Until = w.st.last
	}
	w.stage(kindGap, "", appendGap(nil, &g))
	if err := w.flush(true); err != nil {
		w.l.gap.restore(m)
		return err
	}
	for _, id := range m.finishes {
		if w.st.open[id] != 0 {
			w.orphan(id)
		}
	}
	return nil
}

// addLost counts records of which only the number is known.
func (g *gapCounter) addLost(n int64) {
	g.restore(missing{since: g.now(), lost: n, err: "accepted and not synced when the disk failed"})
}
