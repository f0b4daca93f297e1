// Package config is the whole configuration of Sallyport as one struct, read strictly from one
// YAML file. Default is a working configuration; a file only says what differs from it. Nothing
// in a Config is a secret: secrets are named by reference and resolved by whoever uses them.
package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"sallyport.dev/sallyport/internal/secret"
)

// Config is the effective configuration. The yaml names are the public interface.
type Config struct {
	Listen Listen `yaml:"listen"`
	// DataDir holds the key store, the record and generated secrets; made 0700. Default:
	// $XDG_STATE_HOME/sallyport, or ~/.local/state/sallyport.
	DataDir string  `yaml:"data_dir"`
	IAM     IAM     `yaml:"iam"`
	Inspect Inspect `yaml:"inspect"`
	Watch   Watch   `yaml:"watch"`
	Proxy   Proxy   `yaml:"proxy"`
	Audit   Audit   `yaml:"audit"`
	Console Console `yaml:"console"`
}

// Listen is where callers reach the data plane. A plain "host:port" in its place is its Address.
type Listen struct {
	// Address is host:port. An empty host listens on every interface.
	Address string `yaml:"address"`
	// TLS is nil for plain HTTP.
	TLS *TLS `yaml:"tls"`
	// H2C accepts HTTP/2 without TLS (RFC 9113 section 3.3, prior knowledge).
	H2C bool `yaml:"h2c"`
}

// TLS names the PEM files of the listener's certificate chain and private key.
type TLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Identity modes.
const (
	IAMPassthrough = "passthrough" // the caller's own provider credential goes on; it is known by a keyed hash
	IAMKeys        = "keys"        // callers hold Sallyport keys; the provider credential is injected
)

// IAM is who may call.
type IAM struct {
	Mode string `yaml:"mode"`
	// Pepper keys the hashes of API keys at rest. Nil: generated in the data directory.
	Pepper *secret.Ref `yaml:"pepper"`
	// TrustedProxies are the peers whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// Database is the address of a PostgreSQL that several gateways share. Nil: SQLite in DataDir.
	Database *secret.Ref `yaml:"database"`
	// MasterKey seals the keys that seal provider credentials and other secrets at rest: 32 bytes in
	// base64 or hexadecimal, or an age identity. Nil: generated in DataDir. OldMasterKeys can still be
	// read, until everything is sealed by the new one.
	MasterKey     *secret.Ref  `yaml:"master_key"`
	OldMasterKeys []secret.Ref `yaml:"old_master_keys"`
	// KeyClasses are the rotation policies of keys. A key that names no class, or none of these, is
	// held to the one called standard, if there is one.
	KeyClasses []KeyClass `yaml:"key_classes"`
	// LeakedKeys is a file of keys that are publicly known, one a line, or the SHA-256 of one in
	// hexadecimal. They are refused.
	LeakedKeys string `yaml:"leaked_keys"`
	// AddressPools are ranges that are one place each, such as the exits of a carrier: a key that is
	// used from unrelated places at once is reported, and these are not unrelated.
	AddressPools []netip.Prefix `yaml:"address_pools"`
	// Offline is how long known keys are served from memory while the database does not answer.
	Offline time.Duration `yaml:"offline"`
	// Redis is the address of a Redis through which gateways share their limits and tell each other of
	// revocations. Nil: each keeps its own limits.
	Redis *secret.Ref `yaml:"redis"`
	// Nodes is how many gateways there are at least, for the share of each while Redis is away.
	Nodes int `yaml:"nodes"`
	// Prices is a file of prices that comes before those of the release.
	Prices string `yaml:"prices"`
	// Issuers are those whose tokens are believed, in keys mode.
	Issuers []Issuer `yaml:"issuers"`
	// FourEyes are the permissions, or patterns of dangerous ones, whose use waits for a second person.
	// Read at the start.
	FourEyes []string `yaml:"four_eyes"`
	// Exchange, when set, has agents exchange people's tokens, in keys mode.
	Exchange *Exchange `yaml:"exchange"`
	// SPIFFE, when set, has every caller of the data plane come with a certificate.
	SPIFFE *SPIFFE `yaml:"spiffe"`
}

// KeyClass is a rotation policy.
type KeyClass struct {
	Name    string        `yaml:"name"`
	MaxAge  time.Duration `yaml:"max_age"` // a secret that is older is refused; 0: for ever
	Warn    time.Duration `yaml:"warn"`    // before that
	Overlap time.Duration `yaml:"overlap"` // how long the secret before stays valid after a rotation
}

// Watch is what the gateway says about itself.
type Watch struct {
	Log Log `yaml:"log"`
}

// Log is the operator's log on standard error.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // text, json
}

// Audit modes and kinds of kept content.
const (
	AuditDurable    = "durable"     // nothing leaves before its record is on disk
	AuditBestEffort = "best_effort" // the record is written behind the calls; gaps are possible and counted

	ContentNone     = "none"
	ContentHashed   = "hashed"
	ContentRedacted = "redacted"
	ContentFull     = "full"
)

// Audit is the record.
type Audit struct {
	Mode         string     `yaml:"mode"`
	Content      string     `yaml:"content"`
	SegmentBytes Size       `yaml:"segment_bytes"` // a log file is closed at this size
	Checkpoint   Checkpoint `yaml:"checkpoint"`
}

// Checkpoint is how often the record's head is signed, and where copies of it go. A copy kept
// elsewhere is what makes cutting off the log's end visible.
type Checkpoint struct {
	Every    int           `yaml:"every"`    // records
	Interval time.Duration `yaml:"interval"` // at the latest after
	File     string        `yaml:"file"`     // appended to; empty: none
	Stdout   bool          `yaml:"stdout"`
}

// Console is where people administer the gateway. It is a listener of its own.
type Console struct {
	// Address is host:port; empty: no listener. The socket in DataDir is there in any case.
	Address string `yaml:"address"`
	// TLS is nil for plain HTTP, which browsers let people sign in over only on this machine.
	TLS *TLS `yaml:"tls"`
	// PublicURL is the console's address as browsers see it, such as https://sallyport.example: identity
	// providers send people back there. Empty: made of Address. Passkeys are for its name, which must not be
	// an IP address, and there are none while it is empty.
	PublicURL string `yaml:"public_url"`
}

// Default is the configuration without a file: data plane on 127.0.0.1:8080, OpenAI and Anthropic
// at their public addresses, the caller's credential passed through, attacks blocked, every call
// recorded durably. DataDir is empty where the environment names no home directory.
func Default() *Config {
	return &Config{
		Listen:  Listen{Address: "127.0.0.1:8080", H2C: true},
		DataDir: defaultDataDir(),
		IAM:     IAM{Mode: IAMPassthrough, Nodes: 1, Offline: 30 * time.Second},
		Inspect: defaultInspect(),
		Watch:   Watch{Log: Log{Level: "info", Format: "text"}},
		Proxy:   defaultProxy(),
		Audit: Audit{
			Mode: AuditDurable, Content: ContentHashed, SegmentBytes: 64 << 20,
			Checkpoint: Checkpoint{Every: 1000, Interval: 30 * time.Second},
		},
	}
}

// defaultDataDir follows the XDG Base Directory specification: a relative path in the variable is
// to be ignored.
func defaultDataDir() string {
	if d := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "sallyport")
	}
	if h, err := os.UserHomeDir(); err == nil && filepath.IsAbs(h) {
		return filepath.Join(h, ".local", "state", "sallyport")
	}
	return ""
}
