package quota

import (
	"fmt"
	"time"
)

// Window is the span of time that an amount is for. Windows are fixed and aligned, in UTC: a minute
// begins at second 0, a day at midnight, a month on its first. That makes the counting exact in
// integers, the same on every node, leasable, and comparable to a provider's bill; a sliding window is
// none of these without a log of every call. The price: the end of one window and the beginning of
// the next can be used back to back, so that up to twice the amount fits any span of a window's length.
type Window time.Duration

const (
	Second Window = Window(time.Second)
	Minute        = 60 * Second
	Hour          = 60 * Minute
	// Day is the calendar day in UTC: every one has 24 hours there.
	Day = 24 * Hour
	// Month is the calendar month in UTC.
	Month Window = -1
)

var windowNames = []struct {
	name string
	w    Window
}{{"second", Second}, {"minute", Minute}, {"hour", Hour}, {"day", Day}, {"month", Month}}

func (w Window) String() string {
	for _, n := range windowNames {
		if n.w == w {
			return n.name
		}
	}
	return time.Duration(w).String()
}

// windowForm is what a window is written as, for whoever wrote it in another way.
const windowForm = "second, minute, hour, day or month (calendar, in UTC), or a duration of whole seconds such as 1m (a minute), 24h or 720h"

// ParseWindow reads second, minute, hour, day, month, or a duration of whole seconds ("90s", "12h").
func ParseWindow(s string) (Window, error) {
	for _, n := range windowNames {
		if n.name == s {
			return n.w, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second || d%time.Second != 0 {
		return 0, fmt.Errorf("quota: unknown window %q; expected %s", s, windowForm)
	}
	return Window(d), nil
}

// MarshalText implements encoding.TextMarshaler. All but Month is written as a duration, which releases
// that know no months read.
func (w Window) MarshalText() ([]byte, error) {
	if w == Month {
		return []byte("month"), nil
	}
	return []byte(time.Duration(w).String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler; see ParseWindow.
func (w *Window) UnmarshalText(b []byte) (err error) {
	*w, err = ParseWindow(string(b))
	return err
}

// TextForm says what UnmarshalText reads: as a pattern (ECMA-262), and in words.
func (Window) TextForm() (pattern, words string) {
	return `^(second|minute|hour|day|month|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`, windowForm
}

// index numbers the window that t is in; it grows with t. end is when that window is over, in Unix
// nanoseconds.
func (w Window) index(t time.Time) (n, end int64) {
	switch {
	case w == 0: // concurrency
		return 0, 1<<63 - 1
	case w == Month:
		u := t.UTC()
		y, m, _ := u.Date()
		return int64(y)*12 + int64(m) - 1, time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	}
	at := t.UnixNano()
	n = at / int64(w)
	if at < 0 && at%int64(w) != 0 {
		n--
	}
	return n, (n + 1) * int64(w)
}

// end of the window with this number, in Unix nanoseconds.
func (w Window) end(n int64) int64 {
	switch {
	case w == 0:
		return 1<<63 - 1
	case w == Month:
		return time.Date(int(n/12), time.Month(n%12)+2, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	}
	return (n + 1) * int64(w)
}

// length is the window's duration, at least; for a month its longest.
func (w Window) length() time.Duration {
	if w == Month {
		return 31 * 24 * time.Hour
	}
	return time.Duration(w)
}
