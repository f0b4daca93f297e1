package server

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/console/federated"
	"sallyport.dev/sallyport/internal/console/web"
	"sallyport.dev/sallyport/internal/iam/sso"
	"sallyport.dev/sallyport/internal/secret"
)

// consoleURL is the console's address as browsers see it.
func consoleURL(cfg *config.Config, at net.Addr) string {
	scheme := "http://"
	if cfg.Console.TLS != nil {
		scheme = "https://"
	}
	switch {
	case cfg.Console.PublicURL != "":
		return cfg.Console.PublicURL
	case at != nil:
		return scheme + at.String()
	case cfg.Console.Address == "": // nobody comes back; settings are only tried
		return scheme + "localhost"
	}
	return scheme + cfg.Console.Address
}

// newSSO is how people sign in with the identity providers of their tenants. Every node has the same
// pepper, so each can finish what another began.
func (k *desk) newSSO(pepper secret.String) (*sso.Service, error) {
	key, err := hkdf.Key(sha256.New, []byte(pepper.Reveal()), nil, "sallyport sign-in cookies 1", 32)
	if err != nil {
		return nil, err
	}
	if k.base == nil {
		k.base = func() string { return consoleURL(k.cfg(), nil) }
	}
	return sso.New(sso.Options{
		Docs: k.store.docs, Sealer: sealer{k.people.seals, sso.KindSecret}, Sessions: k.signin.sessions, CookieKey: key,
		Client: k.providerClient, Base: k.base, Loopback: true,
		Event: func(ctx context.Context, e sso.Event) {
			f := map[string]string{
				"ok": strconv.FormatBool(e.OK), "reason": e.Reason, "tenant": e.Tenant, "provider": e.Provider, "user": e.User,
				"issuer": e.Issuer, "subject": e.Subject, "amr": strings.Join(e.AMR, " "), "acr": e.ACR,
			}
			if e.Addr.IsValid() {
				f["ip"] = e.Addr.String()
			}
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := k.note.Note(ctx, e.Name, f); err != nil {
				k.log.Error("cannot record a sign-in", "event", e.Name, "error", err)
			}
			if e.OK { // who came in is known here at once, and to other nodes within two seconds
				k.refresh()
			}
		},
	})
}

// providerClient dials an identity provider under the guard that every outbound connection has.
func (k *desk) providerClient(ca string) (*http.Client, error) {
	t, err := newTransport(config.Upstream{
		Name: "identity provider", Protocol: config.ProtocolAuto,
		Timeouts: config.UpstreamTimeouts{Dial: 5 * time.Second, TLS: 5 * time.Second, ResponseHeader: 10 * time.Second},
	}, k.cfg().Proxy.AllowPrivate)
	if err != nil {
		return nil, err
	}
	if ca != "" {
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return nil, errors.New("ca holds no PEM certificate")
		}
	}
	return &http.Client{Transport: t}, nil
}

// federated is where browsers come back to.
func (k *desk) federated() http.Handler {
	return federated.Handler(federated.Options{
		Service: k.sso, Sessions: k.signin.sessions, Secure: k.cfg().Console.TLS != nil, Home: web.Base,
		Fault: func(err error) { k.log.Error("a sign-in could not be judged", "error", err) },
	})
}
