package rules

import (
	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/views"
)

// idle is how many view bytes a lane keeps when nothing is held.
const idle = 128

type lane struct {
	m     machine
	ch    gate.Channel
	path  string
	clear int
}

// Lane implements detect.Detector. An idle lane takes less than 2 KB.
func (e *Engine) Lane(seg *gate.Segment) detect.Lane {
	l := &lane{ch: seg.Channel, path: seg.Path}
	l.m.text = views.Text{Low: make([]byte, 0, idle), Cas: make([]byte, 0, idle), Src: make([]views.Span, 0, idle)}
	l.m.reset(e, e.plain, 0, 1<<seg.Channel, false)
	return l
}

func (l *lane) Write(p []byte) ([]gate.Finding, int) {
	m := &l.m
	for len(p) > 0 {
		n := min(len(p), block)
		m.fold.Write(p[:n], &m.text)
		m.scan()
		p = p[n:]
		if len(m.text.Low) > idle-16 {
			m.text.Trim(m.keep())
			m.text.Shrink(4 * idle)
		}
	}
	m.prune()
	return l.take(m.clear())
}

func (l *lane) take(clear int) ([]gate.Finding, int) {
	l.clear = max(l.clear, clear)
	if len(l.m.hits) == 0 {
		return nil, l.clear
	}
	out := l.m.eng.findings(l.m.hits, l.ch, l.path)
	l.m.hits = l.m.hits[:0]
	return out, l.clear
}

// Expire tries what is held on what is there; nothing of the reading's state changes but what has
// been told, so a later piece still completes a match.
func (l *lane) Expire() ([]gate.Finding, int) {
	m := &l.m
	for i := range m.cands {
		m.try(&m.cands[i], m.pos, false)
	}
	if m.mask.on {
		m.mask.tell(m, m.pos)
	}
	m.peek()
	return l.take(m.fold.Pos())
}

func (l *lane) Close() []gate.Finding {
	l.m.close()
	out, _ := l.take(l.m.fold.Pos())
	return out
}
