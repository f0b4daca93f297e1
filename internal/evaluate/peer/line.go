package peer

import (
	"errors"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/sallyport/internal/evaluate"
	"sallyport.dev/sallyport/internal/gate"
)

// parsed is one line of a program or of a file of scores.
type parsed struct {
	evaluate.Answer
	id, version string
}

type wireLine struct {
	ID      jsontext.Value `json:"id"`
	Score   *float64       `json:"score"`
	Flagged *bool          `json:"flagged"`
	Verdict *string        `json:"verdict"` // as `sallyport scan` writes it
	Millis  float64        `json:"ms"`
	Error   jsontext.Value `json:"error"`
	Version string         `json:"version"`
}

// parseLine reads an answer. A line without an id is one only if it names a version.
func parseLine(b []byte) (p parsed, ok bool) {
	var w wireLine
	if json.Unmarshal(b, &w) != nil {
		return p, false
	}
	switch w.ID.Kind() {
	case '"':
		id, err := jsontext.AppendUnquote(nil, w.ID)
		if err != nil || len(id) == 0 {
			return p, false
		}
		p.id = string(id)
	case '0':
		p.id = string(w.ID)
	default:
		p.version = w.Version
		return p, w.Version != ""
	}
	if w.Error != nil && w.Error.Kind() != 'n' {
		p.Err = errors.New("it says that it failed")
		return p, true
	}
	if w.Score != nil {
		p.Score, p.HasScore = *w.Score, true
	}
	if w.Flagged != nil {
		p.HasVerdict = true
		if *w.Flagged {
			p.Verdict = gate.Flag
		}
	}
	if w.Verdict != nil {
		v, ok := gate.ParseAction(*w.Verdict)
		if !ok {
			return p, false
		}
		p.Verdict, p.HasVerdict = v, true
	}
	if w.Millis > 0 {
		p.Took = time.Duration(w.Millis * float64(time.Millisecond))
	}
	return p, p.HasScore || p.HasVerdict
}
