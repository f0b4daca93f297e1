package server

import (
	"fmt"
	"time"

	"sallyport.dev/sallyport/internal/console/admin"
	"sallyport.dev/sallyport/internal/iam/approval"
)

// approvals gives the routes their service of approvals, and says what waits for one.
func (k *desk) approvals(d *admin.Deps) (approval.Rules, error) {
	d.Approvals = &approval.Service{
		Store:  approval.Documents{Docs: k.store.docs},
		People: approval.People{Docs: k.store.docs, Roster: k.people.roster, Access: k.people.access, Now: time.Now},
	}
	rules := approval.Rules(k.cfg().IAM.FourEyes)
	if err := rules.Check(); err != nil {
		return nil, fmt.Errorf("read iam.four_eyes: %w", err)
	}
	return rules, nil
}
