package quota

import (
	"strings"

	"sallyport.dev/sallyport/internal/gate"
)

// Counts are the tokens of one call, each counted once.
type Counts struct {
	Input      int64 // read afresh, as text
	AudioInput int64
	ImageInput int64
	Cached     int64 // read from the provider's cache
	CacheWrite int64 // written to it, for the usual time
	CacheHour  int64 // written to it for long, or for nobody says how long
	Output     int64 // reasoning included
	AudioOut   int64

	Searches int64  // of the web, billed by piece
	Tier     string // of service, one of gate's; empty: the usual one
}

// Total is what counts against a bound of tokens.
func (c Counts) Total() int64 {
	return c.Input + c.AudioInput + c.ImageInput + c.Cached + c.CacheWrite + c.CacheHour + c.Output + c.AudioOut
}

const (
	// bytesPerToken is how many bytes of text make a token, at least: about 4 in English, 3 to a
	// character of one token in Chinese.
	bytesPerToken = 3
	// unreadTokens is what a picture, a file or another part that is not text is reckoned with.
	unreadTokens = 2000
	// maxAnswers bounds how many answers a caller can make one estimate be for.
	maxAnswers = 1 << 10
)

// outputless are the endpoints whose answers are no text that a model wrote.
var outputless = map[string]bool{"embeddings": true, "moderations": true, "messages.count_tokens": true, "files": true, "models": true}

// expect reckons a call's tokens before it is made: input from the bytes of its texts, output from what
// the caller allows or, where it does not say, from ceiling. A call that names no model uses none.
func expect(x *gate.Exchange, ceiling int64) Counts {
	rd := x.Reading
	if rd == nil || rd.Model == "" || x.Endpoint == "messages.count_tokens" {
		return Counts{}
	}
	var c Counts
	n, texts := int64(0), 0
	for i := range rd.Segments {
		if s := &rd.Segments[i]; len(s.Joined) == 0 {
			n += int64(len(s.Text))
			texts++
		}
	}
	if texts == 0 {
		n = int64(len(x.Plain))
	}
	c.Input = (n+bytesPerToken-1)/bytesPerToken + unreadTokens*int64(len(rd.Uninspected))
	if outputless[x.Endpoint] || strings.HasPrefix(x.Endpoint, "messages.batches") {
		return c
	}
	c.Output = ceiling
	if rd.MaxOutput > 0 {
		c.Output = min(int64(rd.MaxOutput), MaxAmount/maxAnswers)
	}
	c.Output *= int64(min(max(rd.Answers, 1), maxAnswers))
	return c
}

// said is the provider's own count. OpenAI counts what came from the cache, or went to it, within the
// input, Anthropic beside it.
func said(d gate.Dialect, u gate.Usage) Counts {
	c := Counts{Input: int64(u.Input), Output: int64(u.Output), Searches: int64(u.Searches), Tier: u.Tier}
	write := int64(u.CacheWrite)
	if d == gate.Anthropic {
		c.Cached = int64(u.CachedInput)
	} else {
		c.Cached = part(&c.Input, u.CachedInput)
		write = part(&c.Input, u.CacheWrite)
	}
	c.CacheWrite = part(&write, u.CacheWriteShort)
	c.CacheHour = write
	c.AudioInput, c.ImageInput = part(&c.Input, u.AudioInput), part(&c.Input, u.ImageInput)
	c.AudioOut = part(&c.Output, u.AudioOutput)
	return c
}

// part takes n, or what there is, out of a whole.
func part(whole *int64, n int) int64 {
	p := min(max(int64(n), 0), *whole)
	*whole -= p
	return p
}

// reckon is what a call used, and whether that is an estimate.
//
// What never left used no tokens. An answer without usage (a stream to a caller who did not ask for
// it, one that broke off, one that the gateway stopped) is reckoned from the bytes of its text, which
// misses hidden reasoning. Errors of the provider are free; a provider that did not answer in time may
// have read what was sent.
func reckon(x *gate.Exchange, before Counts) (Counts, bool) {
	r := x.Record
	usage := r.Usage.Said()
	if !left(r) {
		return Counts{}, false
	}
	c := said(x.Dialect, r.Usage)
	if usage && (r.Outcome == gate.OutcomeCompleted || !r.Streamed) {
		return c, false
	}
	if before == (Counts{}) && !usage {
		return Counts{}, false
	}
	if !usage {
		switch {
		case r.Outcome == gate.OutcomeUpstreamError && r.Status != 504, r.Outcome == gate.OutcomeCompleted && r.Status >= 400:
			return Counts{}, false
		}
		c.Input = before.Input
	}
	if before.Output > 0 || usage {
		text := r.AnswerText
		if !r.Streamed {
			text = r.AnswerBytes
		}
		out := (text + bytesPerToken - 1) / bytesPerToken
		if x.Reading != nil && x.Reading.MaxOutput > 0 {
			out = min(out, before.Output)
		}
		c.Output = max(c.Output, out)
	}
	return c, true
}

// left says whether the call went to the provider.
func left(r *gate.Record) bool {
	return r.Begun > 0 || r.AnswerBytes > 0 || r.Usage != (gate.Usage{})
}
