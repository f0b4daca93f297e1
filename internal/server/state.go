package server

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"sallyport.dev/sallyport/internal/audit"
	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/durable"
)

// keyBytes is the size of every generated key.
const keyBytes = 32

// state is what the data directory holds besides the record: generated keys, each in a file of its
// own that only the owner can read.
type state struct {
	dir     string
	hashKey []byte // keys the identity of passed-through credentials
	content []byte // keys the hashes of content in the record
	pepper  []byte // keys the hashes of API keys, where the configuration names none
}

func openState(cfg *config.Config) (*state, error) {
	if cfg.DataDir == "" {
		return nil, errors.New("no data directory: set data_dir in the configuration, or HOME in the environment")
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	st, err := os.Stat(cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("look at data directory: %w", err)
	}
	if st.Mode()&os.ModeSticky != 0 {
		return nil, fmt.Errorf("data directory %s is shared with others; name one of its own", cfg.DataDir)
	}
	if st.Mode().Perm()&0o077 != 0 {
		// It holds keys: whoever made it wider did not mean others to read them.
		if err := os.Chmod(cfg.DataDir, 0o700); err != nil {
			return nil, fmt.Errorf("data directory %s can be read by others (mode %04o) and cannot be closed to them: %w", cfg.DataDir, st.Mode().Perm(), err)
		}
	}
	s := &state{dir: cfg.DataDir}
	for name, dst := range map[string]*[]byte{"identity.key": &s.hashKey, "content.key": &s.content, "pepper.key": &s.pepper} {
		if *dst, err = loadKey(filepath.Join(cfg.DataDir, name)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// loadKey reads a generated key, making it on first use.
func loadKey(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b = make([]byte, keyBytes)
		rand.Read(b)
		if err := durable.WriteFile(path, b, 0o600); err != nil {
			return nil, fmt.Errorf("write generated key: %w", err)
		}
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read generated key: %w", err)
	}
	if len(b) != keyBytes {
		return nil, fmt.Errorf("key file %s is damaged: %d bytes instead of %d", path, len(b), keyBytes)
	}
	return b, nil
}

// openAudit opens the record as the configuration says.
func openAudit(cfg *config.Config, log *slog.Logger) (*audit.Log, error) {
	mode, _ := audit.ParseMode(cfg.Audit.Mode)
	l, err := audit.Open(AuditDir(cfg), audit.Options{
		Mode:              mode,
		SegmentBytes:      int64(cfg.Audit.SegmentBytes),
		CheckpointRecords: cfg.Audit.Checkpoint.Every,
		CheckpointEvery:   cfg.Audit.Checkpoint.Interval,
		OnCheckpoint:      checkpointSink(cfg.Audit.Checkpoint, log),
		OnFault: func(err error) {
			if err != nil {
				log.Error("the record cannot be written; calls are refused", "error", err)
			} else {
				log.Info("the record can be written again")
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("open record: %w", err)
	}
	return l, nil
}

// checkpointSink copies each signed checkpoint to where the configuration says: kept elsewhere, it
// is what makes a cut or rewritten record visible.
func checkpointSink(c config.Checkpoint, log *slog.Logger) func([]byte) {
	if c.File == "" && !c.Stdout {
		return nil
	}
	var mu sync.Mutex
	return func(note []byte) {
		mu.Lock()
		defer mu.Unlock()
		if c.Stdout {
			_, _ = os.Stdout.Write(append(note, '\n'))
		}
		if c.File == "" {
			return
		}
		f, err := os.OpenFile(c.File, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.Write(append(note, '\n'))
			if cerr := f.Close(); err == nil {
				err = cerr
			}
		}
		if err != nil {
			log.Error("cannot copy checkpoint", "file", c.File, "error", err)
		}
	}
}
