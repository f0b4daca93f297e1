package allow

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"sallyport.dev/sallyport/internal/durable"
	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/strictjson"
)

const maxBook = 16 << 20

// ErrBook says that the stored list cannot be read.
var ErrBook = errors.New("the allow-list is damaged")

// Book is the list as it is stored: one file that is replaced as a whole. Any number of processes
// may read; writers take a lock.
type Book struct {
	Dir string
	Key Key
	Now func() time.Time // nil: time.Now
}

// File is where the list is stored.
func (b *Book) File() string { return filepath.Join(b.Dir, "list.json") }

func (b *Book) now() time.Time {
	if b.Now != nil {
		return b.Now().UTC()
	}
	return time.Now().UTC()
}

// Entries reads every entry, those that have expired too.
func (b *Book) Entries() ([]Entry, error) {
	f, err := os.Open(b.File())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read allow-list: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxBook+1))
	if err != nil {
		return nil, fmt.Errorf("read allow-list: %w", err)
	}
	if len(raw) > maxBook {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrBook, maxBook)
	}
	es, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBook, err)
	}
	return es, nil
}

// List reads the entries that are in force.
func (b *Book) List() (*List, error) {
	es, err := b.Entries()
	if err != nil {
		return nil, err
	}
	l, err := New(es, b.Key, b.Now)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBook, err)
	}
	return l, nil
}

// Add stores an entry and returns it with its id and time. Expired entries are dropped on the way. An
// entry that excuses the same in the same context is replaced.
func (b *Book) Add(e Entry) (Entry, error) {
	id := make([]byte, 8)
	rand.Read(id) // never fails (crypto/rand)
	e.ID, e.Created, e.Expires = hex.EncodeToString(id), b.now(), e.Expires.UTC()
	if err := e.Check(); err != nil {
		return Entry{}, err
	}
	err := b.change(func(es []Entry) ([]Entry, error) {
		es = slices.DeleteFunc(es, func(o Entry) bool {
			return !o.Expires.After(b.now()) || o.Hash == e.Hash && o.Category == e.Category && o.Channel == e.Channel &&
				o.Rule == e.Rule && o.Principal == e.Principal && o.Upstream == e.Upstream
		})
		if len(es) >= maxEntries {
			return nil, fmt.Errorf("there are %d entries already", maxEntries)
		}
		return append(es, e), nil
	})
	if err != nil {
		return Entry{}, err
	}
	return e, nil
}

// Remove takes an entry away and returns it.
func (b *Book) Remove(id string) (e Entry, err error) {
	err = b.change(func(es []Entry) ([]Entry, error) {
		i := slices.IndexFunc(es, func(o Entry) bool { return o.ID == id })
		if i < 0 {
			return nil, errors.New("there is no entry of this id")
		}
		e = es[i]
		return slices.Delete(es, i, i+1), nil
	})
	return e, err
}

func (b *Book) change(f func([]Entry) ([]Entry, error)) error {
	if err := durable.MkdirAll(b.Dir, 0o700); err != nil {
		return fmt.Errorf("make directory of allow-list: %w", err)
	}
	l, err := durable.Lock(filepath.Join(b.Dir, "lock"))
	if err != nil {
		return fmt.Errorf("allow-list: %w", err)
	}
	defer l.Close()
	es, err := b.Entries()
	if err != nil {
		return err
	}
	if es, err = f(es); err != nil {
		return err
	}
	if es == nil {
		es = []Entry{}
	}
	out, err := json.MarshalIndent(map[string]any{"format": 1, "entries": es}, "", " ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(b.File(), append(out, '\n'), 0o600); err != nil {
		return fmt.Errorf("write allow-list: %w", err)
	}
	return nil
}

// parse reads strictly: what cannot be read in one way only is no list.
func parse(raw []byte) ([]Entry, error) {
	d, err := strictjson.Parse(bytes.TrimSuffix(raw, []byte("\n")), strictjson.Limits{Depth: 4, Nodes: 8 + 16*maxEntries})
	if err != nil {
		return nil, err
	}
	format, list := d.Get(strictjson.Root, "format"), d.Get(strictjson.Root, "entries")
	if format < 0 || string(d.Value(format)) != "1" || d.Kind(list) != strictjson.Array || d.Nodes[strictjson.Root].Len != 2 {
		return nil, errors.New("not a list of a format that this release reads")
	}
	var es []Entry
	for i := range d.Children(list) {
		if len(es) >= maxEntries {
			return nil, fmt.Errorf("more than %d entries", maxEntries)
		}
		e, err := parseEntry(d, i)
		if err == nil {
			err = e.Check()
		}
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", len(es)+1, err)
		}
		es = append(es, e)
	}
	return es, nil
}

func parseEntry(d *strictjson.Doc, at int) (e Entry, err error) {
	if d.Kind(at) != strictjson.Object {
		return e, errors.New("want an object")
	}
	for i := range d.Children(at) {
		if d.Kind(i) != strictjson.String {
			return e, errors.New("every member must be a string")
		}
		s := d.Str(i)
		var terr error
		switch string(d.Key(i)) {
		case "id":
			e.ID = s
		case "hash":
			e.Hash = s
		case "category":
			e.Category = gate.Category(s)
		case "channel":
			e.Channel = s
		case "rule":
			e.Rule = s
		case "principal":
			e.Principal = s
		case "upstream":
			e.Upstream = s
		case "created":
			e.Created, terr = time.Parse(time.RFC3339Nano, s)
		case "expires":
			e.Expires, terr = time.Parse(time.RFC3339Nano, s)
		case "author":
			e.Author = s
		case "reason":
			e.Reason = s
		default:
			return e, errors.New("unknown member " + strconv.QuoteToASCII(string(d.Key(i))))
		}
		if terr != nil {
			return e, errors.New("a time that is none")
		}
	}
	return e, nil
}
