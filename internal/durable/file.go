// Package durable writes files that are still there after the power went. Every call that returns
// nil has synced the bytes, and the directory that names them.
//
// After a failed sync the page cache is not to be trusted: Linux marks the pages clean although
// they never reached the disk, and a second sync succeeds (Rebello et al., "Can Applications
// Recover from fsync Failures?", USENIX ATC 2020). So a File that saw an error of its disk is
// broken for good; its user opens it anew, cuts it back to what it knows to be synced, and reads
// that again from the device with Reread.
package durable

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
)

// ErrBroken is returned by every use of a File after an error of its disk.
var ErrBroken = errors.New("durable: file saw an I/O error and must be opened anew")

// File is a file whose errors are final. It is used by one goroutine at a time, Close excepted.
type File struct {
	f      *os.File
	broken atomic.Bool
}

// Create makes a new file and syncs its directory, so that the name survives. It fails when the
// file exists.
func Create(path string, perm os.FileMode) (*File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	if err := SyncDir(filepath.Dir(path)); err != nil {
		f.Close()
		os.Remove(path)
		return nil, err
	}
	return &File{f: f}, nil
}

// Open opens an existing file for reading and writing.
func Open(path string) (*File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &File{f: f}, nil
}

// Name is the path the file was opened by.
func (f *File) Name() string { return f.f.Name() }

// Size is the length of the file in bytes.
func (f *File) Size() (int64, error) {
	st, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// ReadAt reads as io.ReaderAt says.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

// WriteAt writes all of p at off, or breaks the file. It does not sync.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if f.broken.Load() {
		return 0, ErrBroken
	}
	n, err := f.f.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, f.note(err)
}

// Datasync makes what was written durable, and of the file's metadata what is needed to read it.
func (f *File) Datasync() error {
	if f.broken.Load() {
		return ErrBroken
	}
	return f.note(datasync(f.f))
}

// Sync makes data and all metadata durable.
func (f *File) Sync() error {
	if f.broken.Load() {
		return ErrBroken
	}
	return f.note(f.f.Sync())
}

// Truncate sets the length of the file. It does not sync.
func (f *File) Truncate(size int64) error {
	if f.broken.Load() {
		return ErrBroken
	}
	return f.note(f.f.Truncate(size))
}

// Reread syncs the file and then asks the kernel to forget its pages, so that the next read comes
// from the device. Where the system has no such call the read may still come from memory.
func (f *File) Reread() error {
	if err := f.Sync(); err != nil {
		return err
	}
	return f.note(forget(f.f))
}

// Close closes the file without syncing.
func (f *File) Close() error { return f.f.Close() }

func (f *File) note(err error) error {
	if err != nil {
		f.broken.Store(true)
	}
	return err
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// WriteFile puts data under path as a whole or not at all: a reader, now or after a crash, sees the
// old content or the new one.
func WriteFile(path string, data []byte, perm os.FileMode) error {
	dir := filepath.Dir(path)
	t, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(t.Name()) // after the rename there is nothing under this name
	_, err = t.Write(data)
	if err == nil {
		err = t.Chmod(perm)
	}
	if err == nil {
		err = t.Sync()
	}
	if cerr := t.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(t.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// Remove takes a name away for good. A name that is not there is no error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// MkdirAll makes a directory and the parents it lacks, each synced into its own parent.
func MkdirAll(dir string, perm os.FileMode) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if st, err := os.Stat(dir); err == nil {
		if !st.IsDir() {
			return fmt.Errorf("%s is not a directory", dir)
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, perm); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return SyncDir(parent)
}

// Reserve makes a file of the given size whose room on the disk is really taken.
func Reserve(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = allocate(f, size)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(path)
		return err
	}
	return SyncDir(filepath.Dir(path))
}

func zeroFill(f *os.File, size int64) error {
	zeros := make([]byte, 64<<10)
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err != nil {
			return err
		}
	}
	return nil
}
