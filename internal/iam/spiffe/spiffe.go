// Package spiffe is mutual TLS with SPIFFE ids: our own X509-SVID, which may change at any moment,
// and callers that are known by theirs (SPIFFE X509-SVID 1.0).
package spiffe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"sallyport.dev/sallyport/internal/iam/peer"
)

// Source gives our own SVID and the authorities of each trust domain as they are at the moment. It
// is asked at every handshake and must answer from memory.
type Source interface {
	x509svid.Source
	x509bundle.Source
}

// WorkloadAPI follows the SPIFFE Workload API at addr, such as unix:///run/spire/agent.sock. It
// returns when the first SVID has come, or when ctx ends; Close ends it.
func WorkloadAPI(ctx context.Context, addr string) (*workloadapi.X509Source, error) {
	s, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr(addr)))
	if err != nil {
		return nil, fmt.Errorf("spiffe: read own SVID: %w", err)
	}
	return s, nil
}

// Options says who may connect.
type Options struct {
	Source Source
	// Allow are patterns (peer.Check) of which one must fit the caller. Empty: nobody may.
	Allow []string
	// Revoked, when set, says that an id does not count any more. It is asked at every handshake
	// and by Identity at every call, so that it also ends connections that are open. It must answer
	// from memory.
	Revoked func(id string) bool
	// Now is the clock; nil: time.Now. Chains are verified by the system's clock.
	Now func() time.Time
}

// Server is the listener's side.
type Server struct {
	o      Options
	config *tls.Config
}

// New checks the options.
func New(o Options) (*Server, error) {
	if o.Source == nil {
		return nil, errors.New("spiffe: no source of SVIDs is given")
	}
	if len(o.Allow) == 0 {
		return nil, errors.New("spiffe: no pattern of callers is given, so nobody could connect")
	}
	for _, p := range o.Allow {
		if err := peer.Check(p); err != nil {
			return nil, fmt.Errorf("spiffe: read pattern: %w", err)
		}
	}
	if o.Revoked == nil {
		o.Revoked = func(string) bool { return false }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{o: o}
	s.config = tlsconfig.MTLSServerConfig(o.Source, o.Source, s.authorize)
	s.config.MinVersion = tls.VersionTLS13
	// A resumed session would skip the verification of the certificate.
	s.config.SessionTicketsDisabled = true
	s.config.NextProtos = []string{"h2", "http/1.1"}
	return s, nil
}

// ServerTLS is TLS 1.3 only, with a client certificate required and verified against the bundle of
// its own trust domain: exactly one URI SAN, a leaf, in time, of a caller that is allowed.
func (s *Server) ServerTLS() *tls.Config { return s.config.Clone() }

func (s *Server) authorize(id spiffeid.ID, chains [][]*x509.Certificate) error {
	for _, c := range chains {
		// X509-SVID section 4.4: extended key usage may be absent; where there is any, a client's is in it.
		if leaf := c[0]; len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 &&
			!slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
			return errors.New("spiffe: the certificate is not for a client")
		}
	}
	return s.allowed(id.String())
}

func (s *Server) allowed(id string) error {
	if s.o.Revoked(id) {
		return errors.New("spiffe: the id is revoked")
	}
	if !peer.Any(s.o.Allow, id) {
		return errors.New("spiffe: no pattern fits the id")
	}
	return nil
}

// Identity is the SPIFFE id of a connection's caller. The connection must have been made with
// ServerTLS: the chain is not verified again, but its end and the list of revoked ids count at every
// call, so that a connection does not outlive either. It takes no lock and makes no network call.
func (s *Server) Identity(c *tls.ConnectionState) (string, error) {
	if c == nil || !c.HandshakeComplete || len(c.PeerCertificates) == 0 {
		return "", errors.New("spiffe: the caller has shown no certificate")
	}
	leaf := c.PeerCertificates[0]
	id, err := x509svid.IDFromCert(leaf)
	if err != nil {
		return "", fmt.Errorf("spiffe: %w", err)
	}
	if s.o.Now().After(leaf.NotAfter) {
		return "", errors.New("spiffe: the certificate has expired since the connection was made")
	}
	if err := s.allowed(id.String()); err != nil {
		return "", err
	}
	return id.String(), nil
}
