package admin

import (
	"context"
	"errors"
	"net/http"

	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/policies"
	"sallyport.dev/sallyport/internal/iam/policy"
)

// PolicySpec makes or changes a policy. Examples are YAML as `sallyport policy test` takes it; a policy
// that does not do what they say is refused.
type PolicySpec struct {
	Name     string `json:"name"`
	Text     string `json:"text"`
	Examples string `json:"examples,omitempty"`
	Off      bool   `json:"off,omitzero"`
}

func (d *Deps) policies() resource[policies.Policy, PolicySpec] {
	fill := func(_ context.Context, _ *api.Call, _ document.Tx, p *policies.Policy, in PolicySpec) error {
		p.Name, p.Text, p.Examples, p.Off, p.Updated = in.Name, in.Text, in.Examples, in.Off, d.stamp()
		failures, err := p.Check()
		var places policy.Errors
		switch {
		case err == nil:
			return nil
		case errors.As(err, &places):
			e := api.Refuse(http.StatusUnprocessableEntity, "invalid_policy", "The policy or its examples cannot be read.")
			e.Extra = map[string]any{"errors": places}
			return e
		case errors.Is(err, policies.ErrExamples):
			e := api.Refuse(http.StatusUnprocessableEntity, "examples_failed", "The policy does not do what its examples say.")
			e.Extra = map[string]any{"failures": failures}
			return e
		}
		return invalid(err)
	}
	return resource[policies.Policy, PolicySpec]{
		name: "policy", plural: "policies", doc: "a policy",
		make: func(ctx context.Context, c *api.Call, tx document.Tx, in PolicySpec) (policies.Policy, error) {
			p := policies.Policy{ID: directory.NewID("policy"), Tenant: c.Tenant, Created: d.stamp()}
			if err := tenantExists(ctx, tx, c.Tenant); err != nil {
				return p, err
			}
			return p, fill(ctx, c, tx, &p, in)
		},
		edit: fill,
	}
}
