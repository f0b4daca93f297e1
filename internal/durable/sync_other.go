//go:build !linux

package durable

import "os"

func datasync(f *os.File) error { return f.Sync() }

func forget(*os.File) error { return nil }

func allocate(f *os.File, size int64) error { return zeroFill(f, size) }
