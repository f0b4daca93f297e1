package simulate

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

var (
	subjects = []string{"A calm sea", "The harbour light", "A morning walk", "The old bridge", "A good map", "The evening train", "A warm kitchen", "The north wind"}
	verbs    = []string{"makes", "keeps", "brings", "leaves", "promises", "wants", "remembers", "carries"}
	things   = []string{"a little time", "a quiet hour", "good company", "an open door", "a clear head", "fresh bread", "a long story", "a steady hand"}
)

// sentence is a harmless answer that depends on the prompt alone.
func sentence(prompt string, choice int) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%d %s", choice, prompt))
	return fmt.Sprintf("%s %s %s.", subjects[h[0]%8], verbs[h[1]%8], things[h[2]%8])
}

// reply is what one choice says.
type reply struct {
	text      string
	thinking  string
	refusal   string
	tool      string
	arguments string
	finish    string // as the script says; empty: what fits
}

func (c *call) reply(choice int) reply {
	r := reply{thinking: c.script.text("thinking", ""), refusal: c.script.text("refusal", ""), finish: c.script.text("finish", "")}
	key := "say"
	if choice > 0 {
		key = fmt.Sprintf("say%d", choice+1)
	}
	said := c.script.has(key)
	r.text = c.script.text(key, "")
	r.tool = c.script.text("tool", c.ask.tool)
	if r.tool != "" {
		r.arguments = c.script.text("arguments", "")
		if !c.script.has("arguments") {
			r.arguments = encode(instance(c.ask.schemas[r.tool], c.ask.schemas[r.tool], 0))
			if r.arguments == "null" {
				r.arguments = "{}"
			}
		}
	}
	switch {
	case said || r.tool != "" || r.refusal != "":
	case c.ask.format != nil:
		r.text = encode(instance(c.ask.format, c.ask.format, 0))
	default:
		r.text = sentence(c.ask.lastUser, choice)
	}
	if size := c.script.number("size", 0); len(r.text) < size {
		fill := "The quiet harbour keeps its lights on. "
		r.text += strings.Repeat(fill, (size-len(r.text))/len(fill)+1)
	}
	return r
}

// pieces cuts a text into the deltas of a stream.
func (c *call) pieces(text string) []string {
	n := c.script.number("chunk", 0)
	var out []string
	for len(text) > 0 {
		end := n
		if n == 0 {
			end = strings.IndexByte(text[1:], ' ') + 1
			if end == 0 {
				end = len(text)
			}
		}
		end = min(end, len(text))
		for end < len(text) && !utf8.RuneStart(text[end]) {
			end++
		}
		out = append(out, text[:end])
		text = text[end:]
	}
	return out
}

// tokens is a guess at how many tokens a text has, good enough for a bill nobody pays.
func tokens(text string) int { return len(text)/4 + 1 }

// encode writes JSON the way providers do, without HTML escapes. What it is given can be encoded.
func encode(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
