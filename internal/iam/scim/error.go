package scim

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"sallyport.dev/sallyport/internal/iam/document"
)

// Error is a refusal in the client's dialect (RFC 7644 section 3.12). Its text holds nothing of others.
type Error struct {
	Status int
	Type   string // scimType; empty where none fits
	Detail string
}

func (e *Error) Error() string { return fmt.Sprintf("scim: %d %s: %s", e.Status, e.Type, e.Detail) }

// Body is the error as a message.
func (e *Error) Body() map[string]any {
	m := map[string]any{"schemas": []string{errorMessage}, "status": strconv.Itoa(e.Status), "detail": e.Detail}
	if e.Type != "" {
		m["scimType"] = e.Type
	}
	return m
}

func bad(scimType, format string, a ...any) *Error {
	return &Error{http.StatusBadRequest, scimType, fmt.Sprintf(format, a...)}
}

var notFound = &Error{http.StatusNotFound, "", "There is no such resource."}

// AsError makes an answer of what went wrong; nil when that is none of the client's business.
func AsError(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, document.ErrNotFound):
		return notFound
	case errors.Is(err, document.ErrExists):
		return &Error{http.StatusConflict, "uniqueness", "Another resource has this userName, displayName or externalId."}
	case errors.Is(err, document.ErrConflict):
		return &Error{http.StatusPreconditionFailed, "", "The resource has changed."}
	}
	return nil
}
