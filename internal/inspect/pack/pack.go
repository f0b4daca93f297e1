// Package pack is how a detector travels: rules, thresholds, weights and the examples they must get
// right, as one signed, versioned file.
//
// It promises that what it hands to a detector's constructor is byte for byte what the holder of a
// trusted key signed: every byte of a pack is covered, one pack has one encoding only, and a pack
// that is not signed by a trusted key, is damaged, is larger than the limits, names another path
// than the few there are, or fails its own examples under the real engine is refused with a reason.
// Which pack is active is one durable, atomic file (see Store). What the contents mean is the
// constructor's.
package pack

import (
	"errors"
	"time"

	"sallyport.dev/sallyport/internal/inspect/detect"
)

// Limits of a pack. They are checked before anything is allocated for what they bound.
const (
	MaxBytes      = 64 << 20 // of a whole pack
	MaxFiles      = 256
	maxManifest   = 256 << 10
	maxRuleFile   = 1 << 20
	maxThresholds = 1 << 20
	maxExamples   = 8 << 20
	maxExampleRow = 128 << 10
	// MaxExamples bounds how many rows are tried each time a pack is loaded.
	MaxExamples = 2000
)

// Reasons why a pack is refused, for errors.Is. The error itself says what exactly is wrong.
var (
	ErrDamaged   = errors.New("damaged")
	ErrUntrusted = errors.New("not signed by a trusted key")
	ErrTooLarge  = errors.New("too large")
	ErrTooNew    = errors.New("needs a newer sallyport")
	ErrOlder     = errors.New("older than what was active")
	ErrExamples  = errors.New("fails its own examples")
	ErrContents  = errors.New("cannot be loaded")
	ErrUnknown   = errors.New("not installed")
)

// Manifest is the signed part of a pack. It names every other byte.
type Manifest struct {
	Name    string    // lower-case letters, digits, hyphens
	Version string    // semantic version without v and build metadata: 1.4.0, 2.0.0-rc.1
	Created time.Time // whole seconds, UTC
	// Minimum is the oldest release of sallyport that can run the pack; empty: any.
	Minimum string
	// Extends says that the built-in rules hold too. Otherwise the pack's rules stand alone.
	Extends bool
	Files   []File // sorted by path
}

// File is one file of a pack.
type File struct {
	Path   string
	Size   int64
	SHA256 [32]byte
}

// ID is name@version, the name under which a pack is installed.
func (m *Manifest) ID() string { return m.Name + "@" + m.Version }

// Pack is a verified pack.
type Pack struct {
	Manifest
	Files  FS       // the contents
	Digest [32]byte // SHA-256 of the whole pack as a single file
	Signer string   // name of the trusted key that signed it
	raw    []byte   // the single file
}

// Bytes is the pack as a single file. Never write to it.
func (p *Pack) Bytes() []byte { return p.raw }

// Construct makes a detector from a pack; its Version must cover the Digest, so that verdicts of another
// pack are void. nil stands for the built-in pack, which is part of the binary and always trusted.
type Construct func(p *Pack) (detect.Detector, error)
