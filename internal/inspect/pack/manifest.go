package pack

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/strictjson"
)

// origin begins every signed manifest. Nothing else that a key of ours signs begins so: a signature
// made for something else says nothing about a pack.
const origin = "sallyport.dev/pack"

// encode writes the one text a manifest has.
func (m *Manifest) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n{\n \"format\": 1,\n \"name\": %q,\n \"version\": %q,\n \"created\": %q,\n", origin, m.Name, m.Version, m.Created.UTC().Format(time.RFC3339))
	if m.Minimum != "" {
		fmt.Fprintf(&b, " \"minimum_sallyport\": %q,\n", m.Minimum)
	}
	fmt.Fprintf(&b, " \"extends_builtin\": %t,\n \"files\": [\n", m.Extends)
	for i, f := range m.Files {
		comma := ","
		if i == len(m.Files)-1 {
			comma = ""
		}
		fmt.Fprintf(&b, "  {\"path\": %q, \"size\": %d, \"sha256\": \"%x\"}%s\n", f.Path, f.Size, f.SHA256, comma)
	}
	b.WriteString(" ]\n}\n")
	return b.Bytes()
}

// check holds a manifest to what every manifest promises.
func (m *Manifest) check() error {
	switch {
	case !ValidName(m.Name):
		return errors.New("the name must be 1 to 40 lower-case letters, digits and hyphens, and not builtin")
	case !ValidVersion(m.Version):
		return errors.New("the version must be a semantic version such as 1.4.0, without v or build metadata")
	case m.Minimum != "" && !ValidVersion(m.Minimum):
		return errors.New("minimum_sallyport must be a semantic version such as 1.4.0")
	case m.Created.Year() < 2000 || m.Created.Year() > 9999:
		return errors.New("created is no time of ours")
	case len(m.Files) == 0 || len(m.Files) > MaxFiles:
		return fmt.Errorf("%d files; want 1 to %d", len(m.Files), MaxFiles)
	}
	total, has := int64(0), false
	for i, f := range m.Files {
		most := limitOf(f.Path)
		switch {
		case most == 0:
			return fmt.Errorf("no pack has a file %q", Plain(f.Path))
		case i > 0 && m.Files[i-1].Path >= f.Path:
			return fmt.Errorf("file %s is named twice or out of order", f.Path)
		case f.Size < 1 || f.Size > most:
			return fmt.Errorf("%w: file %s has %d bytes; want 1 to %d", ErrTooLarge, f.Path, f.Size, most)
		}
		has = has || f.Path == "examples.jsonl"
		if total += f.Size; total > MaxBytes {
			return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxBytes)
		}
	}
	if !has {
		return errors.New("there is no examples.jsonl: a pack must say what it gets right")
	}
	return nil
}

// parseManifest reads what encode writes, and nothing else: unknown, missing and repeated members,
// other spellings of a number or a string and other white space are all refused.
func parseManifest(text []byte) (*Manifest, error) {
	if len(text) > maxManifest {
		return nil, fmt.Errorf("%w: the manifest", ErrTooLarge)
	}
	first, rest, ok := bytes.Cut(text, []byte("\n"))
	if !ok || string(first) != origin {
		return nil, errors.New("not the manifest of a pack")
	}
	d, err := strictjson.Parse(bytes.TrimSuffix(rest, []byte("\n")), strictjson.Limits{Depth: 4, Nodes: 8 + 4*(MaxFiles+1), Key: 64, Num: 20})
	if err != nil {
		return nil, err
	}
	m := &Manifest{}
	if err := m.read(d); err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	if !bytes.Equal(m.encode(), text) {
		return nil, errors.New("the manifest is not written in its one form")
	}
	return m, nil
}

func (m *Manifest) read(d *strictjson.Doc) (err error) {
	str := func(at int) string { return d.Str(at) }
	for i := range d.Children(strictjson.Root) {
		switch name := string(d.Key(i)); name {
		case "format":
			if string(d.Value(i)) != "1" {
				return errors.New("a format that this release does not read")
			}
		case "name":
			m.Name = str(i)
		case "version":
			m.Version = str(i)
		case "created":
			if m.Created, err = time.Parse(time.RFC3339, str(i)); err != nil {
				return errors.New("created is no time")
			}
		case "minimum_sallyport":
			m.Minimum = str(i)
		case "extends_builtin":
			m.Extends = d.Kind(i) == strictjson.True
		case "files":
			for k := range d.Children(i) {
				var f File
				f.Path = str(d.Get(k, "path"))
				if f.Size, err = size(d, d.Get(k, "size")); err != nil {
					return err
				}
				sum, err := hex.DecodeString(str(d.Get(k, "sha256")))
				if err != nil || len(sum) != sha256.Size {
					return errors.New("a sha256 that is none")
				}
				copy(f.SHA256[:], sum)
				m.Files = append(m.Files, f)
			}
		default:
			return fmt.Errorf("unknown member %q", Plain(name))
		}
	}
	return nil
}

func size(d *strictjson.Doc, at int) (int64, error) {
	if d.Kind(at) != strictjson.Number {
		return 0, errors.New("a size that is no number")
	}
	n, err := strconv.ParseInt(string(d.Value(at)), 10, 64)
	if err != nil || strings.HasPrefix(string(d.Value(at)), "-") {
		return 0, errors.New("a size that is no whole number")
	}
	return n, nil
}
