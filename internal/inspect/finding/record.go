package finding

import (
	"net/http"
	"strings"

	"sallyport.dev/sallyport/internal/gate"
)

const (
	// maxFindings bounds how many findings one record names one by one.
	maxFindings = 200
	// maxUninspected bounds how many unread parts one record names one by one.
	maxUninspected = 64
)

// Keep puts a finding into the record. Of more than 200 only the count is kept, but a finding that
// a stop or a change rests on takes the place of one that did less.
func Keep(rec *gate.Record, f gate.Finding) {
	if rec == nil {
		return
	}
	if len(rec.Findings) < maxFindings {
		rec.Findings = append(rec.Findings, f)
		return
	}
	rec.MoreFindings++
	if f.Action < gate.Sanitize {
		return
	}
	least := 0
	for i := range rec.Findings {
		if rec.Findings[i].Action < rec.Findings[least].Action {
			least = i
		}
	}
	if rec.Findings[least].Action < f.Action {
		rec.Findings[least] = f
	}
}

// KeepUnread puts something unread into the record. A stream says the same of frame after frame, so
// what is alike is counted as one.
func KeepUnread(rec *gate.Record, u gate.Uninspected) {
	if rec == nil {
		return
	}
	for i := range rec.Uninspected {
		k := &rec.Uninspected[i]
		if k.Kind == u.Kind && k.Direction == u.Direction && k.Action == u.Action && (k.Path == u.Path || len(rec.Uninspected) >= maxUninspected) {
			k.Bytes += u.Bytes
			return
		}
	}
	rec.Uninspected = append(rec.Uninspected, u)
}

// Problem is what the caller is told about a finding that stops a call: the category in plain words
// and the place, never the text.
func Problem(f *gate.Finding) *gate.Problem {
	what := "Request"
	if f.Direction == gate.Answer {
		what = "Answer"
	}
	return &gate.Problem{
		Status: http.StatusBadRequest, Code: gate.CodePolicy, Param: f.Path,
		Message: what + " blocked by policy: " + strings.ReplaceAll(string(f.Category), "_", " ") + " found.",
	}
}

// Reason is what the record is told about the finding that a decision rests on.
func Reason(f *gate.Finding) string {
	return string(f.Category) + " by rule " + f.Rule + " in " + f.Channel.String() + " text of the " + f.Direction.String()
}

// UnreadProblem is what the caller is told about content that may not pass unread.
func UnreadProblem(u gate.Uninspected) *gate.Problem {
	return &gate.Problem{
		Status: http.StatusBadRequest, Code: gate.CodeUninspected, Param: u.Path,
		Message: "This gateway does not let content through that it cannot inspect (" + u.Kind.String() + ").",
	}
}
