package server

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/console/api"
	"sallyport.dev/sallyport/internal/iam/account"
	"sallyport.dev/sallyport/internal/iam/passkey"
	"sallyport.dev/sallyport/internal/iam/password"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/secret/envelope"
)

// signin is how people sign in.
type signin struct {
	accounts *account.Accounts
	sessions *session.Sessions
	throttle *throttle.Throttle
}

func newSignin(cfg *config.Config, st *state, db *store, p *people, note api.Recorder, log *slog.Logger) (*signin, error) {
	ss, err := session.New(session.Options{Store: db.docs, Privilege: privileges{p}})
	if err != nil {
		return nil, err
	}
	// The one address that passkeys are for is the configured one: what a request says of itself is not asked.
	var site *passkey.Party
	if cfg.Console.PublicURL != "" {
		if site, err = passkey.New(cfg.Console.PublicURL, "Sallyport"); err != nil {
			log.Warn("passkeys cannot be used with console.public_url", "error", err)
			site = nil
		}
	}
	pepper, err := st.pepperFor(cfg)
	if err != nil {
		return nil, err
	}
	// All gateways have the pepper, so they count in the same places.
	key, err := hkdf.Key(sha256.New, []byte(pepper.Reveal()), nil, "sallyport throttle 1", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("make key of the throttle: %w", err)
	}
	slow, err := throttle.New(db.tries, key)
	if err != nil {
		return nil, err
	}
	a, err := account.New(account.Options{
		Store: db.docs, Sessions: ss, Hasher: password.New(password.Options{}), Throttle: slow, Passkeys: site, Sealer: sealer{p.seals, account.KindLogin},
		Event: func(ctx context.Context, e account.Event) {
			f := map[string]string{
				"ok": strconv.FormatBool(e.OK), "reason": e.Reason, "tenant": e.Tenant, "user": e.User, "amr": strings.Join(e.AMR, " "),
			}
			if e.Addr.IsValid() {
				f["ip"] = e.Addr.String()
			}
			if e.BreakGlass {
				log.Warn("an account for emergencies is being used", "user", e.User, "event", e.Name, "ok", e.OK)
			}
			if e.Name == "passkey.copied" {
				log.Warn("there may be a copy of a passkey", "user", e.User, "reason", e.Reason)
			}
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := note.Note(ctx, e.Name, f); err != nil {
				log.Error("cannot record a sign-in", "event", e.Name, "error", err)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	return &signin{a, ss, slow}, nil
}

// sealer seals what people prove themselves with, each value bound to its place.
type sealer struct {
	ring  *envelope.Keyring
	table string
}

func (s sealer) Seal(_ context.Context, tenant, row, column string, v secret.String) ([]byte, error) {
	return s.ring.Seal(tenant, envelope.Place{Table: s.table, Row: row, Column: column}, v)
}

func (s sealer) Open(_ context.Context, tenant, row, column string, b []byte) (secret.String, error) {
	return s.ring.Open(tenant, envelope.Place{Table: s.table, Row: row, Column: column}, b)
}
