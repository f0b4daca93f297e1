package simulate

import (
	"net/http"
	"strconv"
)

// The types that both providers give their errors, by status.
// https://platform.openai.com/docs/guides/error-codes, https://docs.anthropic.com/en/api/errors
var (
	openAITypes = map[int]string{
		401: "authentication_error", 403: "permission_error", 404: "invalid_request_error",
		429: "rate_limit_error", 500: "server_error", 502: "server_error", 503: "server_error", 529: "server_error",
	}
	anthropicTypes = map[int]string{
		401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large",
		429: "rate_limit_error", 500: "api_error", 502: "api_error", 503: "api_error", 529: "overloaded_error",
	}
	openAICodes = map[int]string{401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
)

// fail sends the dialect's error answer.
func (c *call) fail(status int, message string) {
	h := c.w.Header()
	if status == http.StatusTooManyRequests || status == 529 || c.script.has("retry-after") {
		h.Set("Retry-After", strconv.Itoa(c.script.number("retry-after", 1)))
	}
	if status == http.StatusTooManyRequests {
		if c.anthropic {
			h.Set("Anthropic-Ratelimit-Requests-Remaining", "0")
		} else {
			h.Set("X-Ratelimit-Remaining-Requests", "0")
		}
	}
	c.json(status, c.errorBody(status, message))
}

func (c *call) errorBody(status int, message string) object {
	if c.anthropic {
		kind, ok := anthropicTypes[status]
		if !ok {
			kind = "invalid_request_error"
		}
		return object{"type": "error", "error": object{"type": kind, "message": message}, "request_id": "req_" + c.id}
	}
	kind, ok := openAITypes[status]
	if !ok {
		kind = "invalid_request_error"
	}
	var code any
	if s, ok := openAICodes[status]; ok {
		code = s
	}
	return object{"error": object{"message": message, "type": kind, "param": nil, "code": code}}
}

// errorFrame is how each dialect says within a stream that it cannot go on.
func (c *call) errorFrame() frame {
	const message = "Simulated failure within the stream."
	switch {
	case c.anthropic:
		return event("error", c.errorBody(529, message))
	case c.r.URL.Path == "/v1/responses":
		return event("error", object{"type": "error", "code": "server_error", "message": message, "param": nil, "sequence_number": 1000})
	}
	return data(c.errorBody(500, message))
}
