package config

import (
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/secret"
)

// Inspection modes.
const (
	ModeMonitor       = "monitor"        // nothing is stopped; the record says what would have been
	ModeEnforce       = "enforce"        // the policy acts
	ModeEnforceStrict = "enforce_strict" // and a learned detector that cannot answer closes
)

// Inspect is what is looked for and what is done about it.
type Inspect struct {
	Mode string `yaml:"mode"`
	// Policy overrides the built-in policy; the first rule that matches a finding decides.
	Policy []PolicyRule `yaml:"policy"`
	Stream HoldBack     `yaml:"stream"`
	// CacheBytes bounds the cache of verdicts of texts seen before. 0: no cache.
	CacheBytes Size  `yaml:"cache_bytes"`
	Rules      Rules `yaml:"rules"`
	Packs      Packs `yaml:"packs"`
	// Learned says whether the learned tiers read too. Without them the rules decide alone.
	Learned bool `yaml:"learned"`
	// MarkUntrusted puts signs round the texts of tools and documents, for the model to tell data from
	// orders. Off by default: it changes every request that holds such texts.
	MarkUntrusted bool `yaml:"mark_untrusted"`
	// FPRBudget is the share of benign texts that the learned tiers may call attacks, 0.001 to 0.05.
	// It changes nothing about rules.
	FPRBudget     float64       `yaml:"fpr_budget"`
	SecondOpinion SecondOpinion `yaml:"second_opinion"`
}

// Modes of the second opinion.
const (
	OpinionOff    = "off"
	OpinionInline = "inline" // the call waits, at most SecondOpinion.Deadline
	OpinionAfter  = "after"  // the call goes on; the answer is an event of the record
)

// Protocols of the second opinion.
const (
	OpinionModeration = "moderation" // POST /v1/moderations
	OpinionChat       = "chat"       // POST /v1/chat/completions with a model that says safe or unsafe
	OpinionClassify   = "classify"   // POST /classify of vLLM with the labels of Prompt Guard
)

// SecondOpinion asks an endpoint about the texts that the learned tiers are unsure of.
type SecondOpinion struct {
	Mode string `yaml:"mode"`
	// URL is the whole address of the endpoint. Nothing else is requested, and redirects are not
	// followed. A private address needs proxy.allow_private, as for an upstream.
	URL        string      `yaml:"url"`
	Protocol   string      `yaml:"protocol"`
	Model      string      `yaml:"model"`
	Credential *secret.Ref `yaml:"credential"` // sent as a bearer token
	// Low and High are the band of attack scores, low included, that are asked about.
	Low  float64 `yaml:"low"`
	High float64 `yaml:"high"`
	// Deadline is what one call waits at most, however many of its texts are asked about.
	Deadline  time.Duration `yaml:"deadline"`
	PerMinute int           `yaml:"per_minute"` // questions in any minute
	AtOnce    int           `yaml:"at_once"`    // questions at the same time
}

// PolicyRule says what to do about the findings that every given condition fits. A condition that
// is not given fits everything. Upstream, Model, Endpoint and Key are patterns in which * stands
// for any run of characters.
type PolicyRule struct {
	Category  *gate.Category  `yaml:"category"`
	Channel   *gate.Channel   `yaml:"channel"`
	Direction *gate.Direction `yaml:"direction"`
	Upstream  string          `yaml:"upstream"`
	Model     string          `yaml:"model"`
	Endpoint  string          `yaml:"endpoint"`
	Key       string          `yaml:"key"` // id of a key, or of a passed-through credential
	Action    gate.Action     `yaml:"action"`
}

// HoldBack bounds how much of a streamed answer waits for its verdict.
type HoldBack struct {
	HoldTime  time.Duration `yaml:"hold_time"`
	HoldBytes Size          `yaml:"hold_bytes"`
}

// Rules adds to and takes from the built-in rules.
type Rules struct {
	Files    []string `yaml:"files"`    // rule files in Sallyport's format
	Gitleaks []string `yaml:"gitleaks"` // rule files in the format of gitleaks
	Disable  []string `yaml:"disable"`  // ids of rules that do not run
}

// What happens at start when the active pack cannot be loaded. (On a reload the old one stays.)
const (
	PackRefuse  = "refuse"  // the gateway does not start
	PackBuiltin = "builtin" // it starts with the built-in pack and says so
)

// Packs says whose packs of rules, thresholds and weights may take the place of the built-in one.
type Packs struct {
	// TrustedKeys are public keys as `sallyport pack keygen` prints them.
	TrustedKeys []string `yaml:"trusted_keys"`
	// Directory holds the installed packs. Empty: packs in the data directory.
	Directory string `yaml:"directory"`
	OnInvalid string `yaml:"on_invalid"`
	// Shadow is an installed pack, name@version, that reads what the active one reads, beside it, and
	// decides nothing. Empty: none.
	Shadow string `yaml:"shadow"`
}

func defaultInspect() Inspect {
	return Inspect{
		Mode:       ModeEnforce,
		Stream:     HoldBack{HoldTime: 5 * time.Second, HoldBytes: 256 << 10},
		CacheBytes: 8 << 20,
		Packs:      Packs{OnInvalid: PackRefuse},
		Learned:    true,
		FPRBudget:  0.005,
		SecondOpinion: SecondOpinion{
			Mode: OpinionOff, Protocol: OpinionChat, Low: 0.3, High: 0.6,
			Deadline: 300 * time.Millisecond, PerMinute: 60, AtOnce: 4,
		},
	}
}
