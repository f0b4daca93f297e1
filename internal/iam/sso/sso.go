package sso

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/federation"
	"sallyport.dev/sallyport/internal/iam/oidc"
	"sallyport.dev/sallyport/internal/iam/saml"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/secret"
)

// Sealer encrypts what must be read again, bound to its place (package envelope).
type Sealer interface {
	Seal(ctx context.Context, tenant, row, column string, s secret.String) ([]byte, error)
	Open(ctx context.Context, tenant, row, column string, b []byte) (secret.String, error)
}

// Event tells what came of a sign-in. It holds no secret; what the provider said is printable and bounded.
type Event struct {
	Name     string // "sso.signin", "sso.step_up", "sso.logout", "sso.person_made", "sso.roles_changed"
	OK       bool
	Reason   string // for people who read the record
	Tenant   string
	Provider string
	User     string // id; "" when there is none
	Issuer   string
	Subject  string
	AMR      []string
	ACR      string
	Addr     netip.Addr
}

// Options makes a Service. Everything is required but Loopback and Now.
type Options struct {
	Docs     document.Store
	Sealer   Sealer
	Sessions *session.Sessions
	// CookieKey seals sign-ins under way: 32 bytes, the same on every node.
	CookieKey []byte
	// Client makes the client for a provider's addresses, with the guard against those that must not be
	// dialled; ca is PEM, or empty.
	Client func(ca string) (*http.Client, error)
	// Base is the console's address as browsers see it, such as https://sallyport.example.
	Base func() string
	// Loopback accepts providers on plain HTTP on this machine, for trials.
	Loopback bool
	Event    func(context.Context, Event)
	Now      func() time.Time // nil: time.Now
}

// Service is safe for concurrent use, also by several processes on one store.
type Service struct {
	o Options

	mu   sync.Mutex
	made map[string]made // by id of the provider
}

// made is a provider ready for use, for as long as nothing about it changes: it holds the provider's keys.
type made struct {
	of   [32]byte
	oidc *oidc.Provider
	saml *saml.Provider
}

// Path is where the pages of identity providers are below Base.
const Path = "/console/sso/"

// ErrNone: the tenant has no such provider, or it is switched off.
var ErrNone = errors.New("sso: there is no such identity provider")

// New makes a Service.
func New(o Options) (*Service, error) {
	if o.Docs == nil || o.Sealer == nil || o.Sessions == nil || o.Client == nil || o.Base == nil || o.Event == nil {
		return nil, errors.New("sso: new: something is missing")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if len(o.CookieKey) != 32 {
		return nil, errors.New("sso: new: a key of 32 bytes is needed")
	}
	return &Service{o: o, made: map[string]made{}}, nil
}

// cookies seals the sign-ins of one tenant: those of another do not open.
func (s *Service) cookies(tenant string) (*federation.Sealer, error) {
	h := hmac.New(sha256.New, s.o.CookieKey)
	h.Write([]byte("sallyport sign-in 1\x00" + tenant))
	return federation.NewSealer(h.Sum(nil))
}

// List are a tenant's providers that can be used, by name.
func (s *Service) List(ctx context.Context, tenant string) ([]Provider, error) {
	all, err := document.List[Provider](ctx, s.o.Docs, &tenant)
	if err != nil {
		return nil, fmt.Errorf("sso: list: %w", err)
	}
	var out []Provider
	for _, p := range all {
		if !p.Disabled {
			out = append(out, p)
		}
	}
	return out, nil
}

// Seal seals a client secret for the provider of a name.
func (s *Service) Seal(ctx context.Context, tenant, name string, v secret.String) ([]byte, error) {
	return s.o.Sealer.Seal(ctx, tenant, name, "client_secret", v)
}

// SetSecret keeps a sealed client secret within the transaction that makes or changes the provider;
// nil: there is none.
func (s *Service) SetSecret(ctx context.Context, tx document.Tx, p *Provider, sealed []byte) error {
	_, rev, err := document.Get[secretRow](ctx, tx, p.ID)
	if err != nil && !errors.Is(err, document.ErrNotFound) {
		return err
	}
	if p.HasSecret = sealed != nil; p.HasSecret {
		_, err = document.Put(ctx, tx, secretRow{p.ID, p.Tenant, sealed}, rev)
		return err
	}
	if rev == 0 {
		return nil
	}
	return tx.Delete(ctx, KindSecret, p.ID)
}

// Try builds what a provider's settings say, so that an error is seen by whoever changes them.
func (s *Service) Try(p Provider) error {
	_, err := s.build(p, secret.New("tried"))
	return err
}

// find reads a provider and makes it ready.
func (s *Service) find(ctx context.Context, tenant, name, protocol string) (Provider, made, error) {
	p, _, err := document.Find[Provider](ctx, s.o.Docs, document.Key("name", tenant, name))
	if errors.Is(err, document.ErrNotFound) || err == nil && (p.Disabled || protocol != "" && p.Protocol != protocol) {
		return p, made{}, ErrNone
	}
	if err != nil {
		return p, made{}, fmt.Errorf("sso: find provider: %w", err)
	}
	var client secret.String
	var sealed []byte
	if p.HasSecret {
		row, _, err := document.Get[secretRow](ctx, s.o.Docs, p.ID)
		if err != nil {
			return p, made{}, fmt.Errorf("sso: find client secret: %w", err)
		}
		sealed = row.Sealed
	}
	raw, err := json.Marshal(struct {
		P    Provider
		S    []byte
		Base string
	}{p, sealed, s.o.Base()})
	if err != nil {
		return p, made{}, err
	}
	of := sha256.Sum256(raw)
	s.mu.Lock()
	m, ok := s.made[p.ID]
	s.mu.Unlock()
	if ok && m.of == of {
		return p, m, nil
	}
	if p.HasSecret {
		if client, err = s.o.Sealer.Open(ctx, p.Tenant, p.Name, "client_secret", sealed); err != nil {
			return p, made{}, fmt.Errorf("sso: open client secret: %w", err)
		}
	}
	if m, err = s.build(p, client); err != nil {
		return p, made{}, err
	}
	m.of = of
	s.mu.Lock()
	s.made[p.ID] = m
	s.mu.Unlock()
	return p, m, nil
}

func (s *Service) build(p Provider, client secret.String) (m made, err error) {
	here := s.o.Base() + Path + url.PathEscape(p.Tenant) + "/" + p.Name + "/"
	once := Once{s.o.Docs}
	cookies, err := s.cookies(p.Tenant)
	if err != nil {
		return m, err
	}
	switch p.Protocol {
	case OIDC:
		c, err := s.o.Client(p.CA)
		if err != nil {
			return m, err
		}
		o := oidc.Options{
			Name: p.Name, Issuer: p.Issuer, ClientID: p.ClientID, RedirectURL: here + "callback", Scopes: p.Scopes, Algs: p.Algorithms, Groups: p.groupPath(),
			UserInfo: p.UserInfo, Client: c, Sealer: cookies, Once: once, Loopback: s.o.Loopback, Now: s.o.Now,
		}
		if p.HasSecret {
			o.ClientSecret = client
		}
		m.oidc, err = oidc.New(o)
		return m, err
	default:
		idp, err := saml.ParseMetadata([]byte(p.Metadata), p.Issuer, s.o.Now())
		if err != nil {
			return m, err
		}
		m.saml, err = saml.New(saml.Options{
			Name: p.Name, EntityID: here + "metadata", ACS: here + "acs", IdP: *idp, Subject: p.Subject, Groups: p.Groups,
			Sealer: cookies, Once: once, Loopback: s.o.Loopback, Now: s.o.Now,
		})
		return m, err
	}
}

// Metadata is our description for a SAML provider.
func (s *Service) Metadata(ctx context.Context, tenant, name string) ([]byte, error) {
	_, m, err := s.find(ctx, tenant, name, SAML)
	if err != nil {
		return nil, err
	}
	return m.saml.Metadata()
}

// Sweep takes away what was used once and has ended.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	return Once{s.o.Docs}.Sweep(ctx, s.o.Now())
}
