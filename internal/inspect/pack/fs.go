package pack

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// FS is the contents of a pack, path to bytes, as an fs.FS: a constructor reads an installed pack
// and the binary's own files (embed.FS) in one way. The bytes may be shared: never write to them.
type FS map[string][]byte

var _ fs.ReadFileFS = FS{}

// ReadFile implements fs.ReadFileFS.
func (f FS) ReadFile(name string) ([]byte, error) {
	b, ok := f[name]
	if !ok {
		return nil, &fs.PathError{Op: "read", Path: Plain(name), Err: fs.ErrNotExist}
	}
	return slices.Clone(b), nil
}

// Raw is ReadFile without the copy; nil when there is no such file.
func (f FS) Raw(name string) []byte { return f[name] }

// Open implements fs.FS.
func (f FS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: Plain(name), Err: fs.ErrInvalid}
	}
	if b, ok := f[name]; ok {
		return &file{info{path.Base(name), int64(len(b)), 0o444}, bytes.NewReader(b)}, nil
	}
	var kids []fs.DirEntry
	seen := map[string]bool{}
	for p, b := range f {
		rest := p
		if name != "." {
			var ok bool
			if rest, ok = strings.CutPrefix(p, name+"/"); !ok {
				continue
			}
		}
		base, _, deeper := strings.Cut(rest, "/")
		if seen[base] {
			continue
		}
		seen[base] = true
		i := info{base, int64(len(b)), 0o444}
		if deeper {
			i = info{base, 0, fs.ModeDir | 0o555}
		}
		kids = append(kids, fs.FileInfoToDirEntry(i))
	}
	if len(kids) == 0 && name != "." {
		return nil, &fs.PathError{Op: "open", Path: Plain(name), Err: fs.ErrNotExist}
	}
	slices.SortFunc(kids, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return &dir{info{path.Base(name), 0, fs.ModeDir | 0o555}, name, kids}, nil
}

type info struct {
	name string
	size int64
	mode fs.FileMode
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

type file struct {
	info
	*bytes.Reader
}

func (f *file) Size() int64                { return f.info.size }
func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

type dir struct {
	info
	path string
	left []fs.DirEntry
}

func (d *dir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *dir) Close() error               { return nil }
func (d *dir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.path, Err: fs.ErrInvalid}
}

func (d *dir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(d.left)
	} else if len(d.left) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.left))
	out := d.left[:n:n]
	d.left = d.left[n:]
	return out, nil
}
