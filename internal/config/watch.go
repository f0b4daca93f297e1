package config

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long a file must be left alone before it is read: an editor writes in several steps.
const settle = 200 * time.Millisecond

// WatchFile calls onChange, from its own goroutine and never twice at once, each time the contents of
// the file at path become others, until ctx ends. It sees plain writes, an editor's rename over the
// file, and the swapped symbolic links by which Kubernetes updates a mounted ConfigMap. A file that
// is missing for a moment is no change. onChange loads and judges the file itself. The error says
// that watching did not begin, or broke off. Begin to watch before loading, and no change is missed.
func WatchFile(ctx context.Context, path string, onChange func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("config: watching %s: %w", path, err)
	}
	defer w.Close()
	abs, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	// Directories are watched, not the file: a watch on a file stays with the old one when another
	// takes its name. Both where the name stands and where it leads to.
	follow := func() error {
		dirs := []string{filepath.Dir(abs)}
		if real, err := filepath.EvalSymlinks(abs); err == nil && filepath.Dir(real) != dirs[0] {
			dirs = append(dirs, filepath.Dir(real))
		}
		for _, d := range dirs {
			if err := w.Add(d); err != nil {
				return fmt.Errorf("config: watching %s: %w", d, err)
			}
		}
		return nil
	}
	if err := follow(); err != nil {
		return err
	}
	last, _ := contents(abs)
	timer := time.NewTimer(settle)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-w.Events:
			if !ok {
				return fmt.Errorf("config: watching %s ended", path)
			}
			timer.Reset(settle)
		case _, ok := <-w.Errors: // an overflow: events were lost, so look
			if !ok {
				return fmt.Errorf("config: watching %s ended", path)
			}
			timer.Reset(settle)
		case <-timer.C:
			if err := follow(); err != nil {
				return err
			}
			if now, ok := contents(abs); ok && now != last {
				last = now
				onChange()
			}
		}
	}
}

// contents names what is in the file.
func contents(path string) (sum [sha256.Size]byte, ok bool) {
	st, err := os.Stat(path)
	if err != nil || !st.Mode().IsRegular() || st.Size() > maxFile {
		return sum, false
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return sum, false
	}
	return sha256.Sum256(b), true
}
