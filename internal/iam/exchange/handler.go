package exchange

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam/throttle"
)

// Where the endpoint and the keys are on the data plane. Everything under Reserved is the gateway's own:
// no upstream can be called "-", and nothing there is ever forwarded.
const (
	Reserved  = "/-/"
	TokenPath = Reserved + "token"
	KeysPath  = Reserved + "jwks.json"
)

const (
	atOnce   = 32               // requests; more are refused
	bodyTime = 10 * time.Second // for a body to arrive
)

// Handler serves TokenPath and KeysPath.
type Handler struct {
	Exchanger *Exchanger
	// JWKS is the document at KeysPath.
	JWKS func(context.Context) ([]byte, error)
	// Peer names the caller by its client certificate; nil: nobody is named.
	Peer func(*tls.ConnectionState) (string, error)
	Log  *slog.Logger

	room chan struct{}
}

// NewHandler makes a Handler.
func NewHandler(h Handler) *Handler {
	h.room = make(chan struct{}, atOnce)
	return &h
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case TokenPath:
		h.token(w, r)
	case KeysPath:
		h.keys(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (h *Handler) keys(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "expected GET", http.StatusMethodNotAllowed)
		return
	}
	doc, err := h.JWKS(r.Context())
	if err != nil {
		w.Header().Set("Retry-After", "5")
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "there are no keys yet", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=300") // less than keys are published before they sign
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(doc)
}

// answer is RFC 8693 section 2.2.1.
type answer struct {
	Token      string `json:"access_token"`
	IssuedType string `json:"issued_token_type"`
	Type       string `json:"token_type"`
	ExpiresIn  int64  `json:"expires_in"` // seconds
	Scope      string `json:"scope"`
}

type refusal struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func write(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

func refuse(w http.ResponseWriter, e *Error, wait time.Duration) {
	switch e.Status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="sallyport"`) // RFC 6749 section 5.2
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int((wait+time.Second-1)/time.Second))))
	}
	write(w, e.Status, refusal{e.Code, e.Description})
}

func (h *Handler) token(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		refuse(w, &Error{http.StatusMethodNotAllowed, "invalid_request", "Expected POST.", ""}, 0)
		return
	}
	select {
	case h.room <- struct{}{}:
		defer func() { <-h.room }()
	default:
		refuse(w, unable, time.Second)
		return
	}
	e := h.Exchanger
	x := &gate.Exchange{Method: r.Method, Path: TokenPath, Header: r.Header}
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		x.ClientAddr = ap.Addr().Unmap()
	}
	var until time.Time
	if h.Peer != nil && r.TLS != nil {
		var err error
		if x.Peer, err = h.Peer(r.TLS); err != nil {
			w.Header().Set("Connection", "close")
			h.refuse(w, r, x, nil, "client: certificate")
			return
		}
		until = r.TLS.PeerCertificates[0].NotAfter
	}
	d, err := e.o.Who.Authenticate().Admit(r.Context(), x)
	switch {
	case err != nil:
		h.Log.Error("a token could not be exchanged", "error", err)
		refuse(w, unable, time.Second)
		return
	case d.Denied():
		h.refuse(w, r, x, nil, "client: "+d.Reason)
		return
	}
	try := throttle.Try{Account: "exchange\x00" + x.Principal.ID, Addr: x.ClientAddr, Device: "exchange"}
	// Who leaves meanwhile is counted all the same.
	ctx := context.WithoutCancel(r.Context())
	wait, ok, err := e.o.Throttle.Held(ctx, try)
	switch {
	case err != nil:
		h.Log.Error("a token could not be exchanged", "error", err)
		refuse(w, unable, time.Second)
		return
	case !ok:
		refuse(w, tooMany, wait)
		return
	}
	var out *Issued
	req, no := read(w, r)
	if no == nil {
		out, err = e.Exchange(r.Context(), req, x, until)
	} else {
		err = no
	}
	if err != nil {
		if no, ok := errors.AsType[*Error](err); ok {
			if err := e.o.Throttle.Failed(ctx, try); err != nil {
				h.Log.Error("a refused exchange is not counted", "error", err)
			}
			h.end(w, r, x, out, no)
			return
		}
		h.Log.Error("a token could not be exchanged", "error", err)
		h.note(r.Context(), x, out, unable.Reason)
		refuse(w, unable, 3*time.Second)
		return
	}
	e.o.Throttle.Done(ctx, try)
	if !h.note(r.Context(), x, out, "") {
		refuse(w, unrecorded, time.Second)
		return
	}
	write(w, http.StatusOK, answer{out.Token, TypeAccessToken, "Bearer", int64(out.Expires.Sub(e.o.Now()) / time.Second), out.Scope})
}

// read reads the form of who has authenticated.
func read(w http.ResponseWriter, r *http.Request) (*Request, *Error) {
	typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err != nil || typ != "application/x-www-form-urlencoded" || len(r.Header["Content-Type"]) != 1 || r.Header.Get("Content-Encoding") != "":
		return nil, invalid("Expected application/x-www-form-urlencoded.", "form: content type")
	case r.URL.RawQuery != "":
		return nil, invalid("Expected all parameters in the body: addresses are logged.", "form: query")
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	if err != nil {
		return nil, invalid("The request did not arrive, or is too long.", "form: did not arrive")
	}
	return ParseRequest(string(body))
}

// refuse answers who could not say who they are. So that nobody floods the record, their number is bounded
// as that of sign-ins is: beyond it there is another answer, and no event.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, x *gate.Exchange, out *Issued, reason string) {
	try := throttle.Try{Account: "exchange\x00" + throttle.Network(x.ClientAddr).String(), Addr: x.ClientAddr}
	wait, ok, err := h.Exchanger.o.Throttle.Allow(context.WithoutCancel(r.Context()), try)
	switch {
	case err != nil:
		h.Log.Error("a refused exchange is not counted", "error", err)
		refuse(w, unable, time.Second)
		return
	case !ok:
		refuse(w, tooMany, wait)
		return
	}
	no := *badClient
	no.Reason = reason
	h.end(w, r, x, out, &no)
}

func (h *Handler) end(w http.ResponseWriter, r *http.Request, x *gate.Exchange, out *Issued, no *Error) {
	if !h.note(r.Context(), x, out, no.Reason) {
		no = unrecorded
	}
	refuse(w, no, time.Second)
}

// note makes the event durable: who asked for whom, and what came of it.
func (h *Handler) note(ctx context.Context, x *gate.Exchange, out *Issued, reason string) bool {
	f := map[string]string{"ok": strconv.FormatBool(reason == ""), "reason": reason, "principal": x.Principal.ID, "tenant": x.Principal.Tenant, "peer": x.Peer}
	if x.ClientAddr.IsValid() {
		f["ip"] = x.ClientAddr.WithZone("").String()
	}
	if out != nil {
		f["agent"], f["user"], f["issuer"], f["subject"], f["actors"] = out.Agent, out.Person, out.Issuer, out.Subject, strings.Join(out.Actors, " ")
		if reason == "" {
			f["token"], f["scope"], f["expires"] = Name+":"+out.ID, out.Scope, out.Expires.UTC().Format(time.RFC3339)
		}
	}
	for k, v := range f {
		if v == "" {
			delete(f, k)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := h.Exchanger.o.Record(ctx, "token.exchange", f); err != nil {
		h.Log.Error("cannot record an exchange of tokens", "error", err)
		return false
	}
	return true
}
