package simulate

import "strings"

// GuardModel is the chat model that plays a guard: it answers "safe", or "unsafe" and a category, in
// the words of Llama Guard. The moderation and classification endpoints judge alike.
const GuardModel = "guard"

// guardWords are what the guard thinks an attack is made of. It is not a guard to rely on.
var guardWords = []string{"pretend", "bypass", "override", "jailbreak", "no restrictions"}

func (c *call) unsafe() bool {
	text := strings.ToLower(c.ask.lastUser)
	for _, w := range guardWords {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

func (c *call) guard() string {
	if c.unsafe() {
		return "\n\nunsafe\nS14"
	}
	return "\n\nsafe"
}

// moderations answers POST /v1/moderations.
func (c *call) moderations() {
	yes, score := c.unsafe(), 0.0001
	if yes {
		score = 0.98
	}
	c.json(200, object{"id": "modr-" + c.id, "model": "omni-moderation-latest", "results": []any{object{
		"flagged": yes, "categories": object{"illicit": yes}, "category_scores": object{"illicit": score},
		"category_applied_input_types": object{"illicit": []string{"text"}}}}})
}

// classify answers POST /classify as vLLM does with Prompt Guard.
func (c *call) classify() {
	label, probs := "LABEL_0", []float64{0.99, 0.01}
	if c.unsafe() {
		label, probs = "LABEL_1", []float64{0.02, 0.98}
	}
	c.json(200, object{"id": "classify-" + c.id, "object": "list",
		"created": created, "model": c.ask.model, "data": []any{object{"index": 0, "label": label, "probs": probs, "num_classes": 2}},
		"usage": object{"prompt_tokens": tokens(string(c.body)), "total_tokens": tokens(string(c.body)), "completion_tokens": 0}})
}
