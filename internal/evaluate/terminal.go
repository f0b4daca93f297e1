package evaluate

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// Line draws progress as one line that is written over, on a terminal only. Print writes above it.
type Line struct {
	mu    sync.Mutex
	w     io.Writer
	shown int
	live  bool
}

// NewLine makes a Line. On anything but a terminal it draws no progress.
func NewLine(f *os.File) *Line {
	st, err := f.Stat()
	return &Line{w: f, live: err == nil && st.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"}
}

// Progress draws p.
func (l *Line) Progress(p Progress) {
	if !l.live {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draw(status(p))
}

func status(p Progress) string {
	s := fmt.Sprintf("%s: %d rows", Plain(p.Step), p.Rows)
	if secs := p.Elapsed.Seconds(); secs > 0 {
		s += fmt.Sprintf(", %.0f a second", float64(p.Rows)/secs)
	}
	if p.Done > 0 && p.Done < 1 {
		left := time.Duration(float64(p.Elapsed) * (1 - p.Done) / p.Done)
		s += fmt.Sprintf(", %.0f %%, %s left", p.Done*100, left.Round(time.Second))
	}
	return s
}

func (l *Line) draw(s string) {
	if len(s) > 78 {
		s = s[:78]
	}
	fmt.Fprint(l.w, "\r"+s+strings.Repeat(" ", max(0, l.shown-len(s))))
	l.shown = len(s)
}

// Print writes one line.
func (l *Line) Print(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clear()
	fmt.Fprintln(l.w, s)
}

// Clear takes the progress away.
func (l *Line) Clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clear()
}

func (l *Line) clear() {
	if l.shown > 0 {
		fmt.Fprint(l.w, "\r"+strings.Repeat(" ", l.shown)+"\r")
		l.shown = 0
	}
}
