// Package federated is where browsers go to and come back from when people sign in with the identity
// provider of their tenant (package sso), and where such a provider reports that somebody left.
//
//	GET  /console/sso/{tenant}/{provider}/start     to the provider
//	GET  /console/sso/{tenant}/{provider}/step-up   to the provider, to prove it again
//	GET  /console/sso/{tenant}/{provider}/callback  back from an OpenID Connect provider
//	POST /console/sso/{tenant}/{provider}/acs       back from a SAML provider
//	GET  /console/sso/{tenant}/{provider}/metadata  our description for a SAML provider
//	POST /console/sso/{tenant}/{provider}/logout    an OpenID Connect provider's logout token
//
// What goes wrong is on the record; the person reads that the sign-in failed.
package federated

import (
	"errors"
	"net"
	"net/http"

	"sallyport.dev/sallyport/internal/iam/federation"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/iam/sso"
)

// CrossSite is what browsers post from another site, by design: it is bound to the browser by a cookie
// and to our question by its id.
const CrossSite = "POST " + sso.Path + "{tenant}/{provider}/acs"

// maxForm bounds what a provider has a browser post.
const maxForm = 1 << 20

// Options makes the handler.
type Options struct {
	Service  *sso.Service
	Sessions *session.Sessions
	Secure   bool   // the console is served over TLS
	Home     string // where people go afterwards
	Fault    func(error)
}

// Handler serves the addresses above.
func Handler(o Options) http.Handler {
	h := &handler{o}
	mux := http.NewServeMux()
	base := sso.Path + "{tenant}/{provider}/"
	mux.HandleFunc("GET "+base+"start", h.start)
	mux.HandleFunc("GET "+base+"step-up", h.stepUp)
	mux.HandleFunc("GET "+base+"callback", h.callback)
	mux.HandleFunc(CrossSite, h.acs)
	mux.HandleFunc("GET "+base+"metadata", h.metadata)
	mux.HandleFunc("POST "+base+"logout", h.logout)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hd := w.Header()
		hd.Set("Cache-Control", "no-store")
		hd.Set("Referrer-Policy", "no-referrer")
		hd.Set("X-Content-Type-Options", "nosniff")
		hd.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		mux.ServeHTTP(w, r)
	})
}

type handler struct{ o Options }

func at(r *http.Request) (tenant, provider string) {
	return r.PathValue("tenant"), r.PathValue("provider")
}

func (h *handler) start(w http.ResponseWriter, r *http.Request) {
	tenant, provider := at(r)
	p, err := h.o.Service.Start(r.Context(), tenant, provider)
	h.away(w, r, p, err)
}

func (h *handler) stepUp(w http.ResponseWriter, r *http.Request) {
	tenant, provider := at(r)
	tok, ok := session.Token(r, h.o.Secure)
	if !ok {
		http.Redirect(w, r, h.o.Home, http.StatusSeeOther)
		return
	}
	in, err := h.o.Sessions.Find(r.Context(), tok)
	if err != nil {
		h.failed(w, r, err)
		return
	}
	p, err := h.o.Service.StartStepUp(r.Context(), tenant, provider, in)
	h.away(w, r, p, err)
}

// away sends the browser to the provider, with the cookie that only it has.
func (h *handler) away(w http.ResponseWriter, r *http.Request, p *federation.Pending, err error) {
	if err != nil {
		h.failed(w, r, err)
		return
	}
	http.SetCookie(w, h.cookie(p.Cookie, p.CrossSite))
	http.Redirect(w, r, p.URL, http.StatusSeeOther)
}

// cookie holds a sign-in under way. One that comes back with another site's POST must be allowed to, which
// browsers do for secure cookies only; they take those on this machine's plain HTTP, too.
func (h *handler) cookie(value string, crossSite bool) *http.Cookie {
	c := &http.Cookie{Name: "__Host-sallyport-sso", Value: value, Path: "/", MaxAge: int(federation.Patience.Seconds()), HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
	if !h.o.Secure {
		c.Name, c.Secure = "sallyport-sso", crossSite
	}
	if crossSite {
		c.SameSite = http.SameSiteNoneMode
	}
	return c
}

// spent reads the cookie and takes it away from the browser, whatever comes of the sign-in.
func (h *handler) spent(w http.ResponseWriter, r *http.Request, crossSite bool) string {
	c := h.cookie("", crossSite)
	c.MaxAge = -1
	http.SetCookie(w, c)
	if cs := r.CookiesNamed(c.Name); len(cs) == 1 {
		return cs[0].Value
	}
	return ""
}

func (h *handler) from(r *http.Request) sso.From {
	f := sso.From{Agent: r.UserAgent()}
	if a, err := net.ResolveTCPAddr("tcp", r.RemoteAddr); err == nil {
		f.Addr = a.AddrPort().Addr().Unmap()
	}
	f.Token, _ = session.Token(r, h.o.Secure)
	return f
}

func (h *handler) callback(w http.ResponseWriter, r *http.Request) {
	tenant, provider := at(r)
	d, err := h.o.Service.FinishOIDC(r.Context(), tenant, provider, r.URL.Query(), h.spent(w, r, false), h.from(r))
	h.back(w, r, d, err)
}

func (h *handler) acs(w http.ResponseWriter, r *http.Request) {
	cookie := h.spent(w, r, true)
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil || len(r.PostForm["SAMLResponse"]) != 1 {
		h.failed(w, r, federation.Refuse("sso: the post is not one SAML response"))
		return
	}
	tenant, provider := at(r)
	d, err := h.o.Service.FinishSAML(r.Context(), tenant, provider, r.PostForm.Get("SAMLResponse"), cookie, h.from(r))
	h.back(w, r, d, err)
}

func (h *handler) back(w http.ResponseWriter, r *http.Request, d sso.Done, err error) {
	if err != nil {
		h.failed(w, r, err)
		return
	}
	http.SetCookie(w, session.Cookie(d.Token, h.o.Secure))
	http.Redirect(w, r, h.o.Home, http.StatusSeeOther)
}

func (h *handler) metadata(w http.ResponseWriter, r *http.Request) {
	tenant, provider := at(r)
	b, err := h.o.Service.Metadata(r.Context(), tenant, provider)
	if err != nil {
		h.fault(err)
		http.Error(w, "There is no such identity provider.", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/samlmetadata+xml")
	_, _ = w.Write(b)
}

// logout answers as OpenID Connect Back-Channel Logout 1.0 section 2.8 has it.
func (h *handler) logout(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil || len(r.PostForm["logout_token"]) != 1 {
		http.Error(w, "Send one logout_token.", http.StatusBadRequest)
		return
	}
	tenant, provider := at(r)
	err := h.o.Service.Logout(r.Context(), tenant, provider, r.PostForm.Get("logout_token"))
	var refused *federation.Refusal
	switch {
	case err == nil:
		w.WriteHeader(http.StatusOK)
	case errors.As(err, &refused), errors.Is(err, sso.ErrNone):
		http.Error(w, "The logout token is not valid here.", http.StatusBadRequest)
	default:
		h.fault(err)
		http.Error(w, "The logout could not be carried out.", http.StatusServiceUnavailable)
	}
}

// failed tells the person that it did, and nobody why: that is on the record.
func (h *handler) failed(w http.ResponseWriter, r *http.Request, err error) {
	h.fault(err)
	http.Redirect(w, r, h.o.Home+"#failed", http.StatusSeeOther)
}

// fault reports what could not be judged.
func (h *handler) fault(err error) {
	var refused *federation.Refusal
	if !errors.As(err, &refused) && !errors.Is(err, sso.ErrNone) && !errors.Is(err, session.ErrNone) {
		h.o.Fault(err)
	}
}
