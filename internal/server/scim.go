package server

import (
	"fmt"
	"net/http"
	"time"

	"sallyport.dev/sallyport/internal/console/provision"
	"sallyport.dev/sallyport/internal/iam/scim"
)

// provision is where companies' directories bring people and groups.
func (k *desk) provision() http.Handler {
	return provision.Handler(provision.Options{
		Service: &scim.Service{Docs: k.store.docs, Base: func() string { return k.base() + provision.Base }},
		Identify: func(r *http.Request) (*provision.Client, error) {
			if r.Header.Get("Authorization") == "" {
				return nil, provision.ErrNobody
			}
			key, ip, err := k.keyWith(r, provision.FeatureSCIM, provision.ErrNobody)
			if err != nil {
				return nil, err
			}
			st, err := k.people.roster.Check(key.Tenant, "", time.Now())
			if err != nil {
				return nil, err
			}
			if st.Bad != "" {
				return nil, fmt.Errorf("%w: %s", provision.ErrNobody, st.Bad)
			}
			return &provision.Client{Key: key.ID, Name: key.Name, Tenant: key.Tenant, IP: ip}, nil
		},
		Record: k.note, After: k.refresh,
		Fault: func(id string, err error) { k.log.Error("provisioning failed", "event", id, "error", err) },
	})
}
