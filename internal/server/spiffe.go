package server

import (
	"context"
	"fmt"
	"io"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/iam/spiffe"
)

// certificates are where the data plane's own certificate comes from, and those of its callers are
// checked.
type certificates struct {
	*spiffe.Server
	source io.Closer
}

// svidTimeout is how long the start waits for the first certificate.
const svidTimeout = 30 * time.Second

// openSPIFFE connects to the Workload API of a configuration; nil when it names none.
func (s *Server) openSPIFFE(ctx context.Context, cfg *config.Config) (*certificates, error) {
	c := cfg.IAM.SPIFFE
	if c == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, svidTimeout)
	defer cancel()
	source, err := spiffe.WorkloadAPI(ctx, c.Socket)
	if err != nil {
		return nil, fmt.Errorf("iam.spiffe: %w", err)
	}
	srv, err := spiffe.New(spiffe.Options{Source: source, Allow: c.Allow, Revoked: func(id string) bool {
		// A service or agent of the directory that is not in good standing does not even connect.
		now := time.Now()
		p, n, err := s.people.roster.ByCertificate(id, now)
		if err != nil || n != 1 { // of several, none is known to be who connects
			return err != nil
		}
		st, err := s.people.roster.Check(p.Tenant, p.ID, now)
		return err != nil || st.Bad != ""
	}})
	if err != nil {
		_ = source.Close()
		return nil, fmt.Errorf("iam.spiffe: %w", err)
	}
	return &certificates{srv, source}, nil
}
