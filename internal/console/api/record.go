package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// maxField is the longest text of an event; the record cuts at 2 KiB.
const maxField = 2000

// note writes an event about this call.
func (c *Call) note(ctx context.Context, event string, more map[string]string) error {
	f := map[string]string{"id": c.ID, "operation": c.route.Operation, "path": c.r.URL.EscapedPath()}
	if c.Tenant != "" {
		f["tenant"] = c.Tenant
	}
	if a := c.Actor; a != nil {
		f["actor"], f["actor_kind"], f["actor_tenant"], f["amr"] = a.ID, a.Kind, a.Tenant, strings.Join(a.AMR, " ")
		if a.Session != "" {
			f["session"] = a.Session
		}
		if a.IP.IsValid() {
			f["ip"] = a.IP.String()
		}
	} else if ap, err := netip.ParseAddrPort(c.r.RemoteAddr); err == nil { // nobody, from somewhere
		f["ip"] = ap.Addr().Unmap().String()
	}
	if c.approval != "" {
		f["approval"] = c.approval
	}
	for k, v := range more {
		if v != "" {
			f[k] = v
		}
	}
	if err := c.api.o.Record.Note(ctx, "admin."+event, f); err != nil {
		return &Error{Status: http.StatusServiceUnavailable, Code: "record_unavailable", Detail: "The gateway cannot record changes at the moment, so nothing was changed.", Reason: err.Error()}
	}
	return nil
}

// Part records one part of what an act on many things did, where all of it is more than one event holds.
func (c *Call) Part(ctx context.Context, did any) error {
	return c.note(context.WithoutCancel(ctx), c.route.Operation, map[string]string{"phase": "part", "after": text(did)})
}

// denied records a refusal of an identity or a permission. That it could not be recorded changes
// nothing: the request is refused either way.
func (c *Call) denied(ctx context.Context, err error) {
	var e *Error
	reason := err.Error()
	if errors.As(err, &e) {
		reason = e.Error()
	}
	if nerr := c.note(ctx, "denied", map[string]string{"reason": cutText(reason)}); nerr != nil {
		c.api.o.Fault(c.ID, nerr)
	}
}

// summary is what the record keeps of a request before it is done. Not a hash of it: it may hold a
// password, which could be guessed from one. What it changed follows as before and after, in types that
// print no secret.
func summary(body []byte) string {
	if len(body) == 0 {
		return ""
	}
	return fmt.Sprintf("%d bytes", len(body))
}

// text is a value as the record keeps it, with a digest where it is too long to be kept whole.
func text(v any) string {
	b, err := marshal(v)
	if err != nil {
		return "unprintable: " + err.Error()
	}
	return cutText(string(b))
}

func cutText(s string) string {
	if len(s) <= maxField {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return strings.ToValidUTF8(s[:maxField-100], "") + "... " + fmt.Sprintf("%d bytes, sha256 %s", len(s), hex.EncodeToString(sum[:]))
}
