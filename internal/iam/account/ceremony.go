package account

import (
	"context"
	"errors"
	"time"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/passkey"
	"sallyport.dev/sallyport/internal/secret"
)

// KindCeremony is the kind of challenges that passkeys have yet to answer.
const KindCeremony = "ceremony"

// What a challenge is for.
const (
	forSignIn = "signin" // by the passkey alone
	forSecond = "second" // after a password
	forEnrol  = "enrol"  // the first second factor
	forStepUp = "stepup"
	forAdd    = "add" // one more
)

// ceremony is a challenge that was given out. It belongs to one browser, by a token that only that one
// has, and to the ticket or session that it was asked for with. Whatever answer comes uses it up.
type ceremony struct {
	ID         string    `json:"id"`
	Hash       string    `json:"hash"` // of the token
	For        string    `json:"for"`
	Challenge  string    `json:"challenge"`
	User       string    `json:"user,omitempty"`   // empty: whoever answers
	Tenant     string    `json:"tenant,omitempty"` // likewise
	Parent     string    `json:"parent,omitempty"` // id of the ticket or session
	Generation int64     `json:"generation,omitzero"`
	Expires    time.Time `json:"expires"`
}

func (c ceremony) Head() document.Head {
	return document.Head{Kind: KindCeremony, ID: c.ID, Tenant: c.Tenant, Keys: []string{document.Key("token", c.Hash)}}
}

// Prompt is what a page gives to the browser (PublicKeyCredentialCreationOptions or
// PublicKeyCredentialRequestOptions, as JSON), and the token to send back with the answer.
type Prompt struct {
	Ticket  secret.String
	Options []byte
}

// prompt keeps a challenge.
func (a *Accounts) prompt(ctx context.Context, c ceremony, options []byte) (Prompt, error) {
	tok := random()
	c.ID, c.Hash, c.Expires = directory.NewID("cer"), hash(tok), a.o.Now().Add(passkey.Life)
	if _, err := document.Insert(ctx, a.o.Store, c); err != nil {
		return Prompt{}, err
	}
	return Prompt{tok, options}, nil
}

// take takes a challenge out of the store: it is answered once, rightly or not, by one of several at a
// time, whichever node they ask. ErrTicket: there is none, or its time is over.
func (a *Accounts) take(ctx context.Context, tok secret.String, what ...string) (ceremony, error) {
	var c ceremony
	if len(tok.Reveal()) != 43 {
		return c, ErrTicket
	}
	err := a.o.Store.Write(ctx, func(tx document.Tx) error {
		var err error
		if c, _, err = document.Find[ceremony](ctx, tx, document.Key("token", hash(tok))); err != nil {
			return err
		}
		return tx.Delete(ctx, KindCeremony, c.ID)
	})
	if errors.Is(err, document.ErrNotFound) {
		return c, ErrTicket
	}
	if err != nil {
		return c, err
	}
	for _, w := range what {
		if c.For == w && a.o.Now().Before(c.Expires) {
			return c, nil
		}
	}
	return c, ErrTicket
}

// still says, within a transaction, that the ticket of a challenge is still there, and good for this use.
func (a *Accounts) still(ctx context.Context, r document.Reader, c ceremony, use string) (ticket, error) {
	t, _, err := document.Get[ticket](ctx, r, c.Parent)
	if errors.Is(err, document.ErrNotFound) || err == nil && (t.Use != use || t.User != c.User || !a.o.Now().Before(t.Expires)) {
		return t, ErrTicket
	}
	return t, err
}
