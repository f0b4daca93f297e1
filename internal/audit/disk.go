package audit

import (
	"errors"
	"io"
	"syscall"

	"sallyport.dev/sallyport/internal/durable"
)

// file is what a log needs of a file; after an error it is closed and never used again.
type file interface {
	io.ReaderAt
	WriteAt(p []byte, off int64) (int, error)
	Datasync() error
	Sync() error
	Truncate(size int64) error
	Reread() error
	Size() (int64, error)
	Close() error
}

// disk is how a log reaches its files.
type disk interface {
	Create(path string) (file, error)
	Open(path string) (file, error)
}

type osDisk struct{}

func (osDisk) Create(path string) (file, error) { return asFile(durable.Create(path, 0o600)) }
func (osDisk) Open(path string) (file, error)   { return asFile(durable.Open(path)) }

// asFile keeps a nil *durable.File from becoming a file that is not nil.
func asFile(f *durable.File, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
