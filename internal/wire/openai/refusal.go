package openai

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"

	"sallyport.dev/sallyport/internal/gate"
)

// Refusal implements wire.Dialect: the error body that the official SDKs turn into their typed
// exceptions (BadRequestError, AuthenticationError, PermissionDeniedError, RateLimitError, ...).
func (Dialect) Refusal(p *gate.Problem, id string) (http.Header, []byte) {
	h := http.Header{"Content-Type": {"application/json"}}
	retry(h, p)
	return h, errorBody(p)
}

// retry says whether trying again helps: the SDKs retry 408, 409, 429 and 5xx by themselves.
func retry(h http.Header, p *gate.Problem) {
	if p.RetryAfter > 0 {
		h["Retry-After"] = []string{strconv.Itoa(int(math.Ceil(p.RetryAfter.Seconds())))}
		return
	}
	h["X-Should-Retry"] = []string{"false"}
}

func errorBody(p *gate.Problem) []byte {
	type body struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    string  `json:"code"`
	}
	e := body{Message: p.Message, Type: errorType(p.Status), Code: string(p.Code)}
	if p.Param != "" {
		e.Param = &p.Param
	}
	b, _ := json.Marshal(map[string]body{"error": e})
	return b
}

func errorType(status int) string {
	switch {
	case status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case status >= 500:
		return "server_error"
	}
	return "invalid_request_error"
}
