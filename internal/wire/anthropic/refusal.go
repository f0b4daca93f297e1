package anthropic

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"

	"sallyport.dev/sallyport/internal/gate"
)

// Refusal implements wire.Dialect: the error body that the official SDKs turn into their typed
// exceptions. The code stands at the head of the message, since the shape has no field for it.
func (Dialect) Refusal(p *gate.Problem, id string) (http.Header, []byte) {
	h := http.Header{"Content-Type": {"application/json"}}
	if p.RetryAfter > 0 {
		h["Retry-After"] = []string{strconv.Itoa(int(math.Ceil(p.RetryAfter.Seconds())))}
	} else {
		h["X-Should-Retry"] = []string{"false"}
	}
	return h, errorBody(p, id)
}

type errorObject struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

func errorBody(p *gate.Problem, id string) []byte {
	b, _ := json.Marshal(struct {
		Type  string      `json:"type"`
		Error errorObject `json:"error"`
		ID    string      `json:"request_id,omitempty"`
	}{"error", errorObject{errorType(p.Status), string(p.Code) + ": " + p.Message}, id})
	return b
}

func errorType(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	case 529:
		return "overloaded_error"
	}
	if status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}
