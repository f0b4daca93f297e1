package shadow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"sallyport.dev/sallyport/internal/durable"
)

const (
	// maxJournal is the size at which the list of changes is begun anew; the one before it is kept.
	maxJournal = 8 << 20
	// flushEvery is how often the counts reach the disk and the log.
	flushEvery = 5 * time.Second
	// logMost bounds the lines of the log between two flushes.
	logMost = 20
)

// Report is what a shadow has seen so far.
type Report struct {
	Active    string    `json:"active"`
	Candidate string    `json:"candidate"`
	Since     time.Time `json:"since"`
	Updated   time.Time `json:"updated"`
	Problem   string    `json:"problem,omitempty"` // why nothing is compared
	Summary
}

// Journal is where an operator finds what a shadow saw: report.json with the counts, and
// changes.jsonl with every verdict that differs, in a directory of its own for each pair of packs.
// They are an observation, not a record: a crash may lose the last seconds. It is never used on the
// path of a call.
type Journal struct {
	dir string
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	report  Report
	dirty   bool
	flushed time.Time
	logged  int
	file    *os.File
	size    int64
}

// Dir is where the journal of a pair of packs is kept below dir.
func Dir(dir, active, candidate string) string {
	return filepath.Join(dir, active+"_"+candidate)
}

// OpenJournal goes on with the journal of the same pair of packs, or begins a new one.
func OpenJournal(dir string, log *slog.Logger, active, candidate string) (*Journal, error) {
	dir = Dir(dir, active, candidate)
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of shadow: %w", err)
	}
	j := &Journal{dir: dir, log: log, now: time.Now}
	if r, err := ReadReport(dir); err == nil && r.Active == active && r.Candidate == candidate {
		j.report = r
		j.report.Problem = ""
	} else {
		j.report = Report{Active: active, Candidate: candidate, Since: j.now().UTC()}
	}
	j.dirty = true
	j.Flush()
	return j, nil
}

func (j *Journal) path(name string) string { return filepath.Join(j.dir, name) }

// Problem says why the candidate does not run.
func (j *Journal) Problem(why string) {
	j.mu.Lock()
	j.report.Problem, j.dirty = why, true
	j.mu.Unlock()
	j.Flush()
}

func (j *Journal) skip(why string, n int64) {
	if n == 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.report.Skipped[why] == 0 {
		j.log.Warn("shadow: calls are not compared", "reason", why)
	}
	j.report.skip(why, n)
	j.touch()
}

// pair counts a comparison and, where the verdict differs, writes it down.
func (j *Journal) pair(c Change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.report.compare(c.Active, c.Candidate) {
		if j.logged++; j.logged <= logMost {
			j.log.Info("shadow: another verdict", "id", c.ID, "direction", c.Direction, "text", c.Text[:min(16, len(c.Text))],
				"active", c.Active.Verdict, "active_rules", c.Active.Rules, "candidate", c.Candidate.Verdict, "candidate_rules", c.Candidate.Rules)
		}
		if err := j.append(c); err != nil {
			j.report.skip("a change that could not be written down", 1)
		}
	}
	j.touch()
}

func (j *Journal) append(c Change) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if j.file == nil {
		if j.file, err = os.OpenFile(j.path("changes.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			j.file = nil
			return err
		}
		if st, err := j.file.Stat(); err == nil {
			j.size = st.Size()
		}
	}
	n, err := j.file.Write(append(b, '\n'))
	if j.size += int64(n); j.size > maxJournal {
		_ = j.file.Close()
		j.file = nil
		if err == nil {
			err = os.Rename(j.path("changes.jsonl"), j.path("changes.1.jsonl"))
		}
	}
	return err
}

// touch notes that the counts changed, and writes them now and then.
func (j *Journal) touch() {
	j.dirty = true
	if j.now().Sub(j.flushed) >= flushEvery {
		j.flush()
	}
}

// Flush writes the counts.
func (j *Journal) Flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.flush()
}

func (j *Journal) flush() {
	if !j.dirty {
		return
	}
	if more := j.logged - logMost; more > 0 {
		j.log.Info("shadow: more verdicts differ", "not_logged", more, "file", j.path("changes.jsonl"))
	}
	j.flushed, j.logged, j.report.Updated = j.now(), 0, j.now().UTC()
	b, err := json.MarshalIndent(&j.report, "", " ")
	if err == nil {
		err = durable.WriteFile(j.path("report.json"), append(b, '\n'), 0o600)
	}
	if err != nil {
		j.log.Error("shadow: cannot write report", "error", err)
		return
	}
	j.dirty = false
}

// Close writes the counts and lets go of the files.
func (j *Journal) Close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.flush()
	if j.file != nil {
		_ = j.file.Close()
		j.file = nil
	}
}

// ReadReport reads the counts of the shadow that writes, or wrote, in dir.
func ReadReport(dir string) (r Report, err error) {
	b, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		return r, err
	}
	return r, jsonv2.Unmarshal(b, &r)
}

// ReadChanges reads the newest changes, at most n, oldest first. A line that is torn is left out.
func ReadChanges(dir string, n int) (out []Change, err error) {
	for _, name := range []string{"changes.1.jsonl", "changes.jsonl"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(b) {
			var c Change
			if jsonv2.Unmarshal(line, &c) == nil {
				out = append(out, c)
			}
		}
	}
	return out[max(0, len(out)-n):], nil
}
