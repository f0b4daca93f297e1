package evaluate

import (
	"cmp"
	"slices"
)

// worst keeps the rows with the highest scores, or the lowest. Ties go to the earlier row, so that
// the choice does not depend on the order in which rows were scored.
type worst struct {
	most int
	low  bool
	rows []mistaken
}

type mistaken struct {
	index int
	score float64
	show  Mistake
}

func (w *worst) before(a, b mistaken) int {
	by := cmp.Compare(b.score, a.score)
	if w.low {
		by = -by
	}
	return cmp.Or(by, cmp.Compare(a.index, b.index))
}

func (w *worst) offer(t *task) {
	m := mistaken{index: t.i, score: t.done.Score}
	if len(w.rows) == w.most && w.before(w.rows[len(w.rows)-1], m) < 0 {
		return
	}
	at, _ := slices.BinarySearchFunc(w.rows, m, w.before)
	m.show = Mistake{File: Readable(t.row.File), Line: t.row.Line, ID: Readable(excerpt([]byte(t.row.ID))), Source: Readable(t.row.Source),
		Channel: t.row.value("channel"), Score: t.done.Score, Verdict: t.done.Verdict.String(), Excerpt: Readable(excerpt(t.row.Text))}
	w.rows = slices.Insert(w.rows, at, m)
	if len(w.rows) > w.most {
		w.rows = w.rows[:w.most]
	}
}
