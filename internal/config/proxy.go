package config

import (
	"net/netip"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/secret"
)

// Proxy is where calls go and within which bounds.
type Proxy struct {
	// Upstreams replaces the two default ones as a whole. At least one.
	Upstreams []Upstream `yaml:"upstreams"`
	// AllowPrivate are the loopback, private and link-local ranges that may be dialled all the same.
	AllowPrivate []netip.Prefix `yaml:"allow_private"`
	Limits       Limits         `yaml:"limits"`
	Timeouts     Timeouts       `yaml:"timeouts"`
	Uninspected  Uninspected    `yaml:"uninspected"`
}

// Protocols spoken to an upstream.
const (
	ProtocolAuto = "auto" // HTTP/2 where TLS negotiates it, else HTTP/1.1
	ProtocolH1   = "h1"
	ProtocolH2C  = "h2c" // HTTP/2 without TLS; only with http://
)

// Upstream is one provider.
type Upstream struct {
	// Name is its path prefix (/{name}/...): lower-case letters, digits and hyphens, unique, not "v1".
	Name    string       `yaml:"name"`
	Dialect gate.Dialect `yaml:"dialect"`
	// BaseURL is an http or https origin with an optional path prefix; the request's own path is
	// appended as it came. It never ends in a slash.
	BaseURL string `yaml:"base_url"`
	// Credential is the provider's key, sent instead of the caller's; only with iam.mode: keys.
	Credential *secret.Ref `yaml:"credential"`
	// Headers are set on every request to this upstream.
	Headers  map[string]HeaderValue `yaml:"headers"`
	Protocol string                 `yaml:"protocol"`
	Timeouts UpstreamTimeouts       `yaml:"timeouts"`
	// CAFile is a PEM file of the certificate authorities to trust instead of the system's.
	CAFile string `yaml:"ca_file"`
}

// HeaderValue is a plain text, or a secret by reference.
type HeaderValue struct {
	Value string
	Ref   secret.Ref // used when not zero
}

// UpstreamTimeouts bound the steps of one call to a provider.
type UpstreamTimeouts struct {
	Dial           time.Duration `yaml:"dial"`
	TLS            time.Duration `yaml:"tls"`
	ResponseHeader time.Duration `yaml:"response_header"`
	Idle           time.Duration `yaml:"idle"` // between two reads of an answer
}

// Limits bound what one caller, or all of them, can make the gateway hold.
type Limits struct {
	Body        Size `yaml:"body"`         // of a request as received
	DecodedBody Size `yaml:"decoded_body"` // of a request after content decoding
	Header      Size `yaml:"header"`       // of a request, all header fields
	InFlight    int  `yaml:"in_flight"`    // calls at once
	PerKey      int  `yaml:"per_key"`      // calls at once of one principal
	BodyMemory  Size `yaml:"body_memory"`  // of all bodies in flight
	Answer      Size `yaml:"answer"`       // of an answer that is read whole
	Frame       Size `yaml:"frame"`        // of one event of a stream
	Depth       int  `yaml:"depth"`        // nesting of JSON
}

// Timeouts bound slow callers.
type Timeouts struct {
	Header time.Duration `yaml:"header"` // until a request's header is complete
	// BodyMinRate is the least number of bytes per second that a request body may arrive with,
	// measured after its first 10 seconds. 0: no bound.
	BodyMinRate Size          `yaml:"body_min_rate"`
	WriteStall  time.Duration `yaml:"write_stall"` // a caller that takes nothing for so long is dropped
	Idle        time.Duration `yaml:"idle"`        // of a kept-alive connection
	Drain       time.Duration `yaml:"drain"`       // for calls in flight at shutdown
	// Leave is how long, from SIGTERM on and before the drain, calls are still taken while the health check says
	// that the gateway leaves and every connection ends with its next answer. 0: not at all.
	Leave time.Duration `yaml:"leave"`
}

// Uninspected says per kind what happens to content that cannot be read: Allow, Flag or Block.
type Uninspected struct {
	Image     gate.Action `yaml:"image"`
	Audio     gate.Action `yaml:"audio"`
	Video     gate.Action `yaml:"video"`
	File      gate.Action `yaml:"file"`
	Reference gate.Action `yaml:"reference"`
	Opaque    gate.Action `yaml:"opaque"`
	Tokens    gate.Action `yaml:"tokens"`
	Endpoint  gate.Action `yaml:"endpoint"`
	Type      gate.Action `yaml:"type"`
	Realtime  gate.Action `yaml:"realtime"`
	Detector  gate.Action `yaml:"detector"`
}

// Action looks a kind up. A kind that has no setting blocks.
func (u Uninspected) Action(k gate.UninspectedKind) gate.Action {
	switch k {
	case gate.UninspectedImage:
		return u.Image
	case gate.UninspectedAudio:
		return u.Audio
	case gate.UninspectedVideo:
		return u.Video
	case gate.UninspectedFile:
		return u.File
	case gate.UninspectedReference:
		return u.Reference
	case gate.UninspectedOpaque:
		return u.Opaque
	case gate.UninspectedTokens:
		return u.Tokens
	case gate.UninspectedEndpoint:
		return u.Endpoint
	case gate.UninspectedType:
		return u.Type
	case gate.UninspectedRealtime:
		return u.Realtime
	case gate.UninspectedDetector:
		return u.Detector
	}
	return gate.Block
}

func defaultProxy() Proxy {
	return Proxy{
		Upstreams: []Upstream{
			defaultUpstream("openai", gate.OpenAI, "https://api.openai.com"),
			defaultUpstream("anthropic", gate.Anthropic, "https://api.anthropic.com"),
		},
		Limits: Limits{
			Body: 32 << 20, DecodedBody: 64 << 20, Header: 64 << 10,
			InFlight: 4096, PerKey: 512, BodyMemory: 512 << 20,
			Answer: 64 << 20, Frame: 1 << 20, Depth: 200,
		},
		Timeouts: Timeouts{
			Header: 5 * time.Second, BodyMinRate: 1 << 10, WriteStall: time.Minute,
			Idle: 2 * time.Minute, Drain: 30 * time.Second, Leave: 3 * time.Second,
		},
		Uninspected: Uninspected{
			Image: gate.Flag, Audio: gate.Flag, Video: gate.Flag, File: gate.Flag,
			Reference: gate.Flag, Opaque: gate.Flag, Tokens: gate.Block, Endpoint: gate.Flag,
			Type: gate.Flag, Realtime: gate.Block, Detector: gate.Block,
		},
	}
}

func defaultUpstream(name string, d gate.Dialect, base string) Upstream {
	return Upstream{
		Name: name, Dialect: d, BaseURL: base, Protocol: ProtocolAuto,
		Timeouts: UpstreamTimeouts{
			Dial: 10 * time.Second, TLS: 10 * time.Second,
			ResponseHeader: 10 * time.Minute, Idle: 5 * time.Minute,
		},
	}
}
