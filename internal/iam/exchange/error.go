package exchange

import "net/http"

// Error is why no token is issued (RFC 6749 section 5.2, RFC 8693 section 2.2.2).
type Error struct {
	Status      int
	Code        string
	Description string // for the caller; nothing of what it says depends on who exists
	Reason      string // for the record; nothing that the caller wrote
}

func (e *Error) Error() string { return "exchange: refused: " + e.Reason }

// invalid is also what a subject token that is not valid or not acceptable is answered with: RFC 8693
// section 2.2.2 wants invalid_request for those.
func invalid(description, reason string) *Error {
	return &Error{http.StatusBadRequest, "invalid_request", description, reason}
}

func badSubject(reason string) *Error {
	return invalid("The subject_token is not valid here, or you may not act for this person.", reason)
}

func unauthorized(reason string) *Error {
	return &Error{http.StatusBadRequest, "unauthorized_client", "Only an agent of the directory that acts for people exchanges tokens, with its own credential.", reason}
}

func badScope(reason string) *Error {
	return &Error{http.StatusBadRequest, "invalid_scope", "The scope is malformed, or more than the agent and the person both may do.", reason}
}

var (
	badTarget  = &Error{http.StatusBadRequest, "invalid_target", "Tokens are issued for this gateway only.", "target: another"}
	badClient  = &Error{http.StatusUnauthorized, "invalid_client", "Authenticate as the agent: with its key or token in the Authorization header, or its certificate.", "client"}
	tooMany    = &Error{http.StatusTooManyRequests, "temporarily_unavailable", "Too many requests. Try again later.", "throttled"}
	unable     = &Error{http.StatusServiceUnavailable, "temporarily_unavailable", "This cannot be decided now. Try again later.", "could not decide"}
	unrecorded = &Error{http.StatusServiceUnavailable, "temporarily_unavailable", "This cannot be recorded now. Try again later.", "could not record"}
)
