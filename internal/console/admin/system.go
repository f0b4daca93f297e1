package admin

import (
	"context"

	"sallyport.dev/sallyport/internal/console/api"
)

// Rewrapped says how far secrets are sealed by the current master key.
type Rewrapped struct {
	Keys    int            `json:"keys"`    // data keys there are
	Changed int            `json:"changed"` // that were wrapped anew
	Values  int            `json:"values"`  // sealed anew under newer data keys
	InUse   map[string]int `json:"in_use"`  // data keys by the id of the master key that wraps them
}

// Ended says how many signing keys there were.
type Ended struct {
	Ended int `json:"ended"`
}

// BackupNote says that somebody writes a backup.
type BackupNote struct {
	File      string `json:"file"` // its name, for people
	Encrypted bool   `json:"encrypted"`
}

// system is what concerns the installation as a whole.
func (d *Deps) system() []api.Route {
	return []api.Route{
		api.Do(api.Route{Method: "GET", Pattern: "/system/master-key", Operation: "system.master_key", Summary: "Say which master keys are in use", Permission: "read:kek"},
			func(ctx context.Context, _ *api.Call, _ api.None) (r Rewrapped, err error) {
				r.InUse, err = d.Seals.InUse(ctx)
				for _, n := range r.InUse {
					r.Keys += n
				}
				return r, err
			}),
		api.Do(api.Route{Method: "POST", Pattern: "/system/master-key/rewrap", Operation: "system.rewrap", Summary: "Wrap all data keys by the current master key", Permission: "rotate:kek"},
			func(ctx context.Context, c *api.Call, _ api.None) (r Rewrapped, err error) {
				before, err := d.Seals.InUse(ctx)
				if err != nil {
					return r, err
				}
				n, err := d.Seals.Rewrap(ctx)
				if err != nil {
					return r, err
				}
				r.Keys, r.Changed = n.Keys, n.Changed
				if r.InUse, err = d.Seals.InUse(ctx); err == nil {
					c.Changed("master-key", before, r.InUse)
				}
				return r, err
			}),
		api.Do(api.Route{Method: "POST", Pattern: "/system/backups", Operation: "system.backup", Summary: "Put on the record that a backup is written; who can read the database writes it", Permission: "export:backup"},
			func(_ context.Context, c *api.Call, in BackupNote) (api.None, error) {
				c.Changed("backup", nil, in)
				return api.None{}, nil
			}),
		api.Do(api.Route{Method: "POST", Pattern: "/system/signing-keys/rotate", Operation: "system.replace_signing_keys", Summary: "End the keys that exchanged tokens are signed with, and every such token", Permission: "rotate:kek"},
			func(ctx context.Context, c *api.Call, _ api.None) (r Ended, err error) {
				if d.Signing == nil {
					return r, nil
				}
				if r.Ended, err = d.Signing.Replace(ctx); err == nil {
					c.Changed("signing-keys", nil, r)
				}
				return r, err
			}),
		api.Do(api.Route{Method: "POST", Pattern: "/system/data-keys/rotate", Operation: "system.rotate_data_keys", Summary: "Make new data keys and seal every value anew", Permission: "rotate:kek"},
			func(ctx context.Context, c *api.Call, _ api.None) (r Rewrapped, err error) {
				for _, tenant := range d.Tenants() {
					if _, err := d.Seals.Rotate(ctx, tenant); err != nil {
						return r, err
					}
				}
				if r.Values, err = d.Vault.Reseal(ctx); err != nil {
					return r, err
				}
				c.Changed("data-keys", nil, map[string]int{"values": r.Values})
				r.InUse, err = d.Seals.InUse(ctx)
				return r, err
			}),
	}
}
