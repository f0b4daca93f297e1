package pack

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/durable"
	"sallyport.dev/sallyport/internal/strictjson"
)

// manifestFile is the signed manifest in a pack that is a directory.
const manifestFile = "pack.note"

// Source says what a pack is made of.
type Source struct {
	Name, Version, Minimum string
	Extends                bool
	Created                time.Time
	Dir                    string // rules/*.toml, thresholds.json, weights/*, examples.jsonl
	Key                    string // private
}

// Build reads a directory and signs it. The same source gives the same bytes.
func Build(s Source) (*Pack, error) {
	files, err := walk(s.Dir)
	if err != nil {
		return nil, err
	}
	if _, ok := files[manifestFile]; ok {
		return nil, fmt.Errorf("%s stands in the directory: it is a finished pack already", manifestFile)
	}
	m := &Manifest{Name: s.Name, Version: s.Version, Created: s.Created.UTC().Truncate(time.Second), Minimum: s.Minimum, Extends: s.Extends}
	for p, b := range files {
		m.Files = append(m.Files, File{p, int64(len(b)), sha256.Sum256(b)})
	}
	slices.SortFunc(m.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	if b, ok := files["thresholds.json"]; ok {
		if _, err := strictjson.Parse(b, strictjson.Limits{}); err != nil {
			return nil, fmt.Errorf("thresholds.json: %w", err)
		}
	}
	signed, err := sign(m, s.Key)
	if err != nil {
		return nil, err
	}
	raw := join(signed, m, files)
	if len(raw) > MaxBytes {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxBytes)
	}
	return &Pack{Manifest: *m, Files: files, Digest: sha256.Sum256(raw), raw: raw}, nil
}

// walk reads every file of a directory that a pack may have; any other entry is refused. The
// directory is opened as a root, so that no link leads out of it, whoever changes it meanwhile.
func walk(dir string) (FS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	files, total := FS{}, int64(0)
	err = fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != "." && p != "rules" && p != "weights" {
				return fmt.Errorf("no pack has a directory %q", Plain(p))
			}
			return nil
		}
		most := limitOf(p)
		if p == manifestFile {
			most = maxManifest
		}
		if most == 0 || !d.Type().IsRegular() {
			return fmt.Errorf("no pack has a file %q: want plain files rules/*.toml, thresholds.json, weights/*, examples.jsonl", Plain(p))
		}
		if len(files) > MaxFiles {
			return fmt.Errorf("%w: more than %d files", ErrTooLarge, MaxFiles)
		}
		f, err := root.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		b, err := readAll(f, min(most, MaxBytes-total))
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		total += int64(len(b))
		files[path.Clean(p)] = b
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read directory: %w", err)
	}
	return files, nil
}

func readDir(dir string, t *Trust) (*Pack, error) {
	files, err := walk(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	signed, ok := files[manifestFile]
	if !ok {
		return nil, fmt.Errorf("%w: there is no %s", ErrDamaged, manifestFile)
	}
	delete(files, manifestFile)
	m, _, err := t.open(signed)
	if err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		if _, ok := files[f.Path]; !ok {
			return nil, fmt.Errorf("%w: file %s is missing", ErrDamaged, f.Path)
		}
	}
	if len(files) != len(m.Files) {
		return nil, fmt.Errorf("%w: there are files that were not signed", ErrDamaged)
	}
	return Open(join(signed, m, files), t)
}

// Unpack writes a pack as a directory, which must not exist yet. It is for people to look into; it
// can be verified and installed as it is.
func (p *Pack) Unpack(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	n := len(p.raw)
	for _, f := range p.Manifest.Files {
		n -= int(f.Size)
	}
	_, signed, ok := strings.Cut(string(p.raw[:n]), "\n")
	if !ok {
		return errors.New("not a pack")
	}
	write := func(name string, b []byte) error {
		at := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		return durable.WriteFile(at, b, 0o644)
	}
	for name, b := range p.Files {
		if err := write(name, b); err != nil {
			return err
		}
	}
	return write(manifestFile, []byte(signed))
}
