package opinion

import (
	"encoding/json"
	"strings"

	"sallyport.dev/sallyport/internal/strictjson"
)

// Protocol is how an endpoint is asked and how it answers.
type Protocol string

const (
	// Moderation is POST /v1/moderations of OpenAI: yes when any result is flagged.
	// https://platform.openai.com/docs/api-reference/moderations
	Moderation Protocol = "moderation"
	// Chat is POST /v1/chat/completions with a model that answers as Llama Guard does: "safe", or
	// "unsafe" and a line of categories. https://www.llama.com/docs/model-cards-and-prompt-formats/llama-guard-3/
	Chat Protocol = "chat"
	// Classify is POST /classify of vLLM with a model that has the labels of Prompt Guard.
	// https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html#classification-api
	Classify Protocol = "classify"
)

// Protocols lists every protocol.
func Protocols() []Protocol { return []Protocol{Moderation, Chat, Classify} }

// question is the body of the request.
func (p Protocol) question(model string, text []byte) []byte {
	q := map[string]any{}
	if model != "" {
		q["model"] = model
	}
	if p == Chat {
		q["messages"] = []any{map[string]string{"role": "user", "content": string(text)}}
		q["temperature"], q["max_tokens"], q["stream"] = 0, 32, false
	} else {
		q["input"] = string(text)
	}
	b, err := json.Marshal(q)
	if err != nil {
		panic(err) // strings and numbers can be written
	}
	return b
}

// answer reads a whole answer. Whatever is not clearly a yes or a no is an error.
func (p Protocol) answer(body []byte) (yes bool, err error) {
	d, err := strictjson.Parse(body, strictjson.Limits{Depth: 32, Nodes: 8192})
	if err != nil {
		return false, errForm // the parser's words are not needed, and a guard's bytes are not repeated
	}
	switch p {
	case Moderation:
		return moderation(d)
	case Chat:
		return chat(d)
	case Classify:
		return classified(d)
	}
	return false, errForm
}

func moderation(d *strictjson.Doc) (yes bool, err error) {
	rs := d.Get(strictjson.Root, "results")
	if d.Kind(rs) != strictjson.Array || d.Nodes[rs].Len == 0 {
		return false, errForm
	}
	for r := range d.Children(rs) {
		switch d.Kind(d.Get(r, "flagged")) {
		case strictjson.True:
			yes = true
		case strictjson.False:
		default:
			return false, errForm
		}
	}
	return yes, nil
}

// only is the one element of an array, or -1.
func only(d *strictjson.Doc, list int) int {
	if d.Kind(list) != strictjson.Array || d.Nodes[list].Len != 1 {
		return -1
	}
	return list + 1
}

func chat(d *strictjson.Doc) (bool, error) {
	m := d.Get(only(d, d.Get(strictjson.Root, "choices")), "message")
	c := d.Get(m, "content")
	if d.Kind(c) != strictjson.String {
		return false, errForm
	}
	first, rest, _ := strings.Cut(strings.TrimSpace(d.Str(c)), "\n")
	switch strings.TrimSpace(first) {
	case "unsafe":
		return true, nil
	case "safe":
		if rest == "" { // and not "safe", and then something else
			return false, nil
		}
	}
	return false, errNeither
}

// labels of Prompt Guard 1 and 2, and what they mean.
var labels = map[string]bool{
	"BENIGN": false, "LABEL_0": false,
	"INJECTION": true, "JAILBREAK": true, "MALICIOUS": true, "LABEL_1": true,
}

func classified(d *strictjson.Doc) (bool, error) {
	l := d.Get(only(d, d.Get(strictjson.Root, "data")), "label")
	if d.Kind(l) != strictjson.String {
		return false, errForm
	}
	yes, ok := labels[d.Str(l)]
	if !ok {
		return false, errNeither
	}
	return yes, nil
}
