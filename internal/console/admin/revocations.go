package admin

import (
	"context"
	"strings"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/revocation"
)

// RevocationSpec ends tokens; see revocation.Revocation.
type RevocationSpec struct {
	Token     string `json:"token,omitempty"`
	Principal string `json:"principal,omitempty"`
}

// revocations are made and listed. None is taken back: it ends by itself once no token is left that it
// concerns.
func (d *Deps) revocations() []api.Route {
	all := resource[revocation.Revocation, RevocationSpec]{
		name: "key", plural: "token-revocations", doc: "an end of tokens", // the same permissions: both are credentials
		make: func(ctx context.Context, c *api.Call, tx document.Tx, in RevocationSpec) (revocation.Revocation, error) {
			r := revocation.New(c.Tenant, in.Token, in.Principal, d.stamp())
			if err := r.Check(); err != nil {
				return r, invalid(err)
			}
			return r, tenantExists(ctx, tx, c.Tenant)
		},
	}.routes(d)
	var rs []api.Route
	for _, r := range all {
		r.Operation = strings.Replace(r.Operation, "-", "_", 1)
		switch r.Method {
		case "GET":
			rs = append(rs, r)
		case "POST":
			r.Permission = "delete:key"
			rs = append(rs, r)
		}
	}
	return rs
}
