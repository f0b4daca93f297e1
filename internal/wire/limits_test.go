package wire_test

import (
	"fmt"
	"testing"

	"sallyport.dev/sallyport/internal/gate"
)

// How much output a caller allows, read from whichever member says it; what is not a plain whole number
// counts as not said.
func TestHowMuchOutputIsAllowed(t *testing.T) {
	for _, c := range []struct {
		d            gate.Dialect
		members      string
		output, many int
	}{
		{gate.OpenAI, `"max_tokens":10`, 10, 0},
		{gate.OpenAI, `"max_tokens":10,"max_completion_tokens":30,"n":3`, 30, 3},
		{gate.OpenAI, `"max_output_tokens":7,"n":2,"best_of":5`, 7, 5},
		{gate.OpenAI, `"max_tokens":1e6,"n":2.0`, 0, 0},
		{gate.OpenAI, `"max_tokens":-5,"n":"9"`, 0, 0},
		{gate.OpenAI, `"nested":{"max_tokens":5}`, 0, 0},
		{gate.Anthropic, `"max_tokens":10`, 10, 0},
		{gate.Anthropic, `"max_tokens":null`, 0, 0},
	} {
		for _, d := range dialects {
			if d.Name() != c.d {
				continue
			}
			r, err := d.ReadRequest(routes[c.d], "application/json", fmt.Appendf(nil, `{"model":"m","messages":[],%s}`, c.members))
			if err != nil || r.MaxOutput != c.output || r.Answers != c.many {
				t.Errorf("%s: %+v %v", c.members, r, err)
			}
		}
	}
}
