package pack

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"sallyport.dev/sallyport/internal/durable"
	"sallyport.dev/sallyport/internal/strictjson"
)

// ErrState says that the file which names the active pack cannot be read.
var ErrState = errors.New("the state of the packs is damaged")

const (
	maxState   = 256 << 10
	maxHistory = 64
)

// Entry is a pack that is, or was, active.
type Entry struct {
	ID     string    `json:"id"`
	Digest string    `json:"digest,omitempty"` // SHA-256 of the pack, hexadecimal; empty for the built-in one
	Since  time.Time `json:"since,omitzero"`
}

// State is which pack is active, and which were before it.
type State struct {
	Format  int     `json:"format"`
	Serial  int64   `json:"serial"` // of changes
	Active  Entry   `json:"active"`
	History []Entry `json:"history"` // oldest first
}

// floor is the newest version of a name that is active or would be after a rollback: what is older
// is a downgrade. Empty: none.
func (s *State) floor(name string) (v string) {
	for _, e := range append([]Entry{s.Active}, s.History...) {
		n, x, ok := cutID(e.ID)
		if ok && n == name && (v == "" || Compare(x, v) > 0) {
			v = x
		}
	}
	return v
}

func cutID(id string) (name, version string, ok bool) {
	if !ValidID(id) {
		return "", "", false
	}
	for i := range id {
		if id[i] == '@' {
			return id[:i], id[i+1:], true
		}
	}
	return "", "", false
}

// StateFile is the one file whose replacement makes another pack active.
func StateFile(dir string) string { return filepath.Join(dir, "state.json") }

// readState reads the state; without a file the built-in pack is active.
func readState(dir string) (*State, error) {
	f, err := os.Open(StateFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return &State{Format: 1, Active: Entry{ID: Builtin}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read state of packs: %w", err)
	}
	defer f.Close()
	b, err := readAll(f, maxState)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	s, err := parseState(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	return s, nil
}

func parseState(b []byte) (*State, error) {
	d, err := strictjson.Parse(bytes.TrimSpace(b), strictjson.Limits{Depth: 4, Nodes: 16 + 4*(maxHistory+2)})
	if err != nil {
		return nil, err
	}
	s := &State{}
	if d.Kind(strictjson.Root) != strictjson.Object || len(b) == 0 {
		return nil, errors.New("want an object")
	}
	has := map[string]bool{}
	for i := range d.Children(strictjson.Root) {
		name := string(d.Key(i))
		has[name] = true
		switch name {
		case "format":
			if string(d.Value(i)) != "1" {
				return nil, errors.New("a format that this release does not read")
			}
			s.Format = 1
		case "serial":
			if s.Serial, err = strconv.ParseInt(string(d.Value(i)), 10, 64); err != nil {
				return nil, errors.New("serial is no number")
			}
		case "active":
			if s.Active, err = parseEntry(d, i); err != nil {
				return nil, err
			}
		case "history":
			for k := range d.Children(i) {
				e, err := parseEntry(d, k)
				if err != nil {
					return nil, err
				}
				s.History = append(s.History, e)
			}
		default:
			return nil, fmt.Errorf("unknown member %q", Plain(name))
		}
	}
	if !has["format"] || !has["serial"] || !has["active"] || !has["history"] || len(s.History) > maxHistory {
		return nil, errors.New("a member is missing")
	}
	return s, nil
}

func parseEntry(d *strictjson.Doc, at int) (e Entry, err error) {
	for i := range d.Children(at) {
		switch name := string(d.Key(i)); name {
		case "id":
			e.ID = d.Str(i)
		case "digest":
			e.Digest = d.Str(i)
		case "since":
			if e.Since, err = time.Parse(time.RFC3339Nano, d.Str(i)); err != nil {
				return e, errors.New("since is no time")
			}
		default:
			return e, fmt.Errorf("unknown member %q", Plain(name))
		}
	}
	sum, err := hex.DecodeString(e.Digest)
	switch {
	case e.ID == Builtin && e.Digest == "":
	case !ValidID(e.ID):
		return e, errors.New("an entry is no pack")
	case err != nil || len(sum) != 32:
		return e, errors.New("an entry has no digest")
	}
	return e, nil
}

func (s *State) write(dir string) error {
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	return durable.WriteFile(StateFile(dir), append(b, '\n'), 0o600)
}
