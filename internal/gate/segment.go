package gate

// Channel says whose words a text is, which decides how far it is trusted.
type Channel uint8

const (
	ChannelUser      Channel = iota // the person or program that asks
	ChannelSystem                   // the operator's instructions
	ChannelDeveloper                // the operator's instructions, OpenAI's newer name
	ChannelAssistant                // the model's own words, in history or in an answer
	ChannelTool                     // tool results, tool definitions and what arrives through them
	ChannelDocument                 // documents, search results, files, retrieved text
)

var channelNames = [...]string{"user", "system", "developer", "assistant", "tool", "document"}

// Channels lists every channel, in the order of their values.
func Channels() []Channel {
	return []Channel{ChannelUser, ChannelSystem, ChannelDeveloper, ChannelAssistant, ChannelTool, ChannelDocument}
}

func (c Channel) String() string { return nameOf(channelNames[:], int(c)) }

// ParseChannel is the inverse of String.
func ParseChannel(s string) (Channel, bool) {
	i, ok := indexOf(channelNames[:], s)
	return Channel(i), ok
}

// Trust is how far a channel's words may steer the model.
type Trust uint8

const (
	TrustForeign  Trust = iota // tool and document text: data, never instructions
	TrustCaller                // the user's words
	TrustModel                 // the model's words
	TrustOperator              // system and developer text
)

// Trust follows from the channel alone.
func (c Channel) Trust() Trust {
	switch c {
	case ChannelSystem, ChannelDeveloper:
		return TrustOperator
	case ChannelUser:
		return TrustCaller
	case ChannelAssistant:
		return TrustModel
	}
	return TrustForeign
}

// Direction is the way a text travels.
type Direction uint8

const (
	Request Direction = iota // from the caller to the provider
	Answer                   // from the provider to the caller
)

var directionNames = [...]string{"request", "answer"}

func (d Direction) String() string { return nameOf(directionNames[:], int(d)) }

// ParseDirection is the inverse of String.
func ParseDirection(s string) (Direction, bool) {
	i, ok := indexOf(directionNames[:], s)
	return Direction(i), ok
}

// Coding says how a text is written in the bytes that carry it.
type Coding uint8

const (
	// Verbatim: the bytes at the place are the text.
	Verbatim Coding = iota
	// JSONString: the bytes between two quotes, JSON escapes included.
	JSONString
	// NestedJSON: a JSON string inside the decoded text of a JSON string (tool-call arguments).
	// Inner is its place in the decoded outer text.
	NestedJSON
	// Nowhere: the text is made of others (see Segment.Joined) or cannot be edited in place
	// (an object's key, text of a compressed or encoded part). A finding in it can only block.
	Nowhere
)

// Span is a half-open byte range.
type Span struct{ Start, End int }

// Len is the number of bytes in the span.
func (s Span) Len() int { return s.End - s.Start }

// Place says where a segment's text stands in the body (or stream frame) that carried it.
// For JSON strings the span is what is between the quotes.
type Place struct {
	Span
	Coding Coding
	Inner  Span
}

// Part names one piece of a joined text: it starts at byte At of the text and is segment Index of
// the same Reading. Between two parts there may be a separator that belongs to neither.
type Part struct {
	Index int
	At    int
}

// Segment is one text as the model will read it, with its whereabouts.
type Segment struct {
	// Text is the decoded text, valid UTF-8. It may alias the body: never write to it.
	Text    []byte
	Role    string // the dialect's own word for who speaks; may be empty
	Channel Channel
	// Path is the place in the dialect's terms, as its SDK names a parameter: messages[2].content[0].text.
	Path string
	// Turn is the index of the message or input item the text belongs to, -1 where there is none.
	Turn  int
	Place Place
	// Joined is set on a text that exists only when several parts are read together.
	Joined []Part
}

// UninspectedKind is a reason why something on the way could not be read.
type UninspectedKind uint8

const (
	UninspectedImage     UninspectedKind = iota // pixels
	UninspectedAudio                            // speech and other sound
	UninspectedVideo                            // moving pictures
	UninspectedFile                             // a file in a format that is not read (PDF, zip, office, unknown binary)
	UninspectedReference                        // content that is only named: file ids, URLs, stored prompts, previous responses
	UninspectedOpaque                           // encrypted or signed provider state
	UninspectedTokens                           // a prompt given as token ids
	UninspectedEndpoint                         // an endpoint this release does not know
	UninspectedType                             // a content type that is not read
	UninspectedRealtime                         // WebSocket, WebRTC and other sessions that leave HTTP
	UninspectedDetector                         // text that no detector could finish reading
)

var uninspectedNames = [...]string{"image", "audio", "video", "file", "reference", "opaque", "tokens", "endpoint", "type", "realtime", "detector"}

func (k UninspectedKind) String() string { return nameOf(uninspectedNames[:], int(k)) }

// ParseUninspectedKind is the inverse of String.
func ParseUninspectedKind(s string) (UninspectedKind, bool) {
	i, ok := indexOf(uninspectedNames[:], s)
	return UninspectedKind(i), ok
}

// UninspectedKinds lists every kind, in the order of their values.
func UninspectedKinds() []UninspectedKind {
	ks := make([]UninspectedKind, len(uninspectedNames))
	for i := range ks {
		ks[i] = UninspectedKind(i)
	}
	return ks
}

// Uninspected is something that passed, or would have passed, without being read.
type Uninspected struct {
	Kind      UninspectedKind
	Direction Direction
	Path      string
	Bytes     int
	Action    Action // what the policy said: Allow, Flag or Block
}

// Usage is what the provider says the call cost, in tokens. Zero means not said.
type Usage struct {
	Input, Output, CachedInput, Reasoning int
	CacheWrite                            int // input written to the provider's cache, where that is counted apart
	CacheWriteShort                       int // of CacheWrite: what is known to be kept for the usual time, not for long
	AudioInput, ImageInput                int // of Input: what is no text
	AudioOutput                           int // of Output
	// Searches are searches of the web that the provider made, which it bills by piece.
	Searches int
	// Tier is how the provider served the call where that has a price of its own: one of the Tier constants.
	Tier string
}

// Tiers of service. What a provider calls otherwise is TierOther.
const (
	TierFlex      = "flex"
	TierBatch     = "batch"
	TierPriority  = "priority"
	TierFast      = "fast"
	TierUltrafast = "ultrafast"
	TierOther     = "other"
)

// TierOf is the tier that a provider names; empty where it is the usual one.
func TierOf(name string) string {
	switch name {
	case "", "auto", "default", "standard", "scale": // scale: bought beforehand, at the usual price
		return ""
	}
	for _, t := range []string{TierFlex, TierBatch, TierPriority, TierFast, TierUltrafast} {
		if t == name {
			return t
		}
	}
	return TierOther
}

// Said says whether the provider counted tokens.
func (u Usage) Said() bool {
	return u.Input != 0 || u.Output != 0 || u.CachedInput != 0 || u.CacheWrite != 0 || u.Reasoning != 0
}

// Reading is what was found in one body.
type Reading struct {
	Segments    []Segment
	Uninspected []Uninspected
	Model       string // as asked for, or as answered
	Stream      bool   // the caller asked for a stream
	// MaxOutput is how many tokens the caller lets each answer have, Answers how many answers it asks
	// for. 0: not said.
	MaxOutput, Answers int
	// Tools are the names of the tools that a request offers the model, each once: a function's own
	// name, a hosted tool's type, "mcp:" and the label of a server.
	Tools  []string
	Usage  Usage  // of an answer
	Finish string // why the model stopped, in the dialect's word
}

// Edit replaces bytes Start..End of segment Segment's text.
type Edit struct {
	Segment    int
	Start, End int
	With       string
}

// Text is one text of a streamed frame. Its Place is relative to the frame's Raw bytes.
type Text struct {
	Segment
	// Lane names the text that this piece continues; pieces of one lane are read as one text.
	// An empty lane means the text stands alone.
	Lane string
}

// Frame is one event of a streamed answer.
type Frame struct {
	Raw    []byte // as it came, with the blank line that ends it
	Texts  []Text
	Closes []string // lanes that this frame ends; a name ending in * is a prefix, "*" ends all
	// Uninspected lists what in the frame cannot be read (audio, images).
	Uninspected []Uninspected
	Last        bool // the dialect's last event
}

func nameOf(names []string, i int) string {
	if i >= 0 && i < len(names) {
		return names[i]
	}
	return "unknown"
}

func indexOf(names []string, s string) (int, bool) {
	for i, n := range names {
		if n == s {
			return i, true
		}
	}
	return 0, false
}
