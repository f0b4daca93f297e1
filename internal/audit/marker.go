package audit

import (
	"os"
	"path/filepath"
	"time"
)

// marker signs checkpoints and appends them to their file, in a goroutine of its own, so that a
// signature never delays a record. Only sizes that are durable are signed.
type marker struct {
	l     *Log
	reqs  chan checkpoint // capacity 1: the newest asked for
	ended chan error      // gets the last error, or nil, when the goroutine has ended
	quit  chan struct{}
	off   int64 // length of the good part of the file
	f     file
}

// ask replaces whatever is asked for and not yet signed. Only the writer calls it.
func (m *marker) ask(c checkpoint) {
	for {
		select {
		case m.reqs <- c:
			return
		default:
		}
		select {
		case <-m.reqs:
		default:
		}
	}
}

// end lets the goroutine finish what is asked for and end.
func (m *marker) end() {
	close(m.quit)
	close(m.reqs)
}

func (m *marker) run() {
	var err error
	for c := range m.reqs {
		for err = m.write(&c); err != nil; err = m.write(&c) {
			select {
			case c2, ok := <-m.reqs:
				if ok {
					c = c2
				}
			case <-time.After(backoffMost):
			}
			select {
			case <-m.quit:
			default:
				continue
			}
			err = m.write(&c) // the last try
			break
		}
	}
	if m.f != nil {
		m.f.Close()
	}
	m.ended <- err
}

// write makes one checkpoint durable. After an error the file is opened anew and cut back.
func (m *marker) write(c *checkpoint) error {
	raw, err := c.sign(m.l.signer)
	if err != nil {
		return err
	}
	if m.f == nil {
		f, err := m.l.o.disk.Open(filepath.Join(m.l.dir, checkpointFile))
		if err == nil {
			if err = f.Truncate(m.off); err == nil {
				err = f.Sync()
			}
			if err != nil {
				f.Close()
			}
		}
		if err != nil {
			return err
		}
		m.f = f
	}
	framed := frameCheckpoint(raw)
	_, err = m.f.WriteAt(framed, m.off)
	if err == nil {
		err = m.f.Datasync()
	}
	if err != nil {
		m.f.Close()
		m.f = nil
		return err
	}
	m.off += int64(len(framed))
	m.l.counts.checkpoint.Store(c.size)
	if m.l.o.OnCheckpoint != nil {
		m.l.o.OnCheckpoint(raw)
	}
	return nil
}

// haveCheckpoints says whether a log has the file of its checkpoints.
func haveCheckpoints(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, checkpointFile))
	return err == nil
}
