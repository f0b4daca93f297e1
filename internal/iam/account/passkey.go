package account

import (
	"context"
	"errors"
	"slices"

	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/passkey"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/secret"
)

// HasPasskeys says whether passkeys can be used here.
func (a *Accounts) HasPasskeys() bool { return a.o.Passkeys != nil }

// AskSignIn asks a browser for any passkey that it knows for this console. Anybody may ask, so how often is
// bounded, by network and in all.
func (a *Accounts) AskSignIn(ctx context.Context, from From) (Prompt, error) {
	if a.o.Passkeys == nil {
		return Prompt{}, ErrNoPasskeys
	}
	if wait, ok, err := a.o.Throttle.Held(ctx, asking(from)); err != nil {
		return Prompt{}, fail("ask for a passkey", err)
	} else if !ok {
		return Prompt{}, &WaitError{wait}
	}
	options, challenge, err := a.o.Passkeys.Ask(passkey.Person{}, nil)
	if err != nil {
		return Prompt{}, fail("ask for a passkey", err)
	}
	p, err := a.prompt(ctx, ceremony{For: forSignIn, Challenge: challenge}, options)
	if err != nil {
		return Prompt{}, fail("ask for a passkey", err)
	}
	return p, nil
}

// asking is of no account: only the places count. Whoever signs in gives their network its try back.
func asking(from From) throttle.Try { return throttle.Try{Account: "passkey", Addr: from.Addr} }

// AskSecond asks for one of the person's passkeys as the second factor of a sign-in.
func (a *Accounts) AskSecond(ctx context.Context, tok secret.String) (Prompt, error) {
	t, l, _, err := a.ticket(ctx, a.o.Store, tok, useSecond)
	if err != nil {
		return Prompt{}, fail("ask for a passkey", err)
	}
	return a.ask(ctx, l, forSecond, t.ID)
}

// AskStepUp asks for one, to prove again who a session's person is.
func (a *Accounts) AskStepUp(ctx context.Context, tok secret.String) (Prompt, error) {
	s, _, err := a.Session(ctx, tok)
	if err != nil {
		return Prompt{}, err
	}
	l, _, err := document.Get[Login](ctx, a.o.Store, s.User)
	if errors.Is(err, document.ErrNotFound) {
		return Prompt{}, ErrRefused
	}
	if err != nil {
		return Prompt{}, fail("ask for a passkey", err)
	}
	return a.ask(ctx, l, forStepUp, s.ID)
}

func (a *Accounts) ask(ctx context.Context, l Login, what, parent string) (Prompt, error) {
	if a.o.Passkeys == nil {
		return Prompt{}, ErrNoPasskeys
	}
	if len(l.Passkeys) == 0 {
		return Prompt{}, ErrRefused
	}
	options, challenge, err := a.o.Passkeys.Ask(passkey.Person{ID: l.User}, l.Passkeys)
	if err != nil {
		return Prompt{}, fail("ask for a passkey", err)
	}
	p, err := a.prompt(ctx, ceremony{For: what, Challenge: challenge, User: l.User, Tenant: l.Tenant, Parent: parent, Generation: l.Generation}, options)
	if err != nil {
		return Prompt{}, fail("ask for a passkey", err)
	}
	return p, nil
}

// Answer takes a passkey's answer to AskSignIn or AskSecond, and opens the session. A passkey alone is two
// factors: the key, and what its device asked the person for.
func (a *Accounts) Answer(ctx context.Context, tok secret.String, answer []byte, from From) (Step, error) {
	c, err := a.take(ctx, tok, forSignIn, forSecond)
	if err != nil {
		return Step{}, fail("passkey", err)
	}
	l, err := a.owner(ctx, c, answer)
	if err != nil {
		a.emit(ctx, directory.User{}, from, Event{Name: "signin.passkey", Reason: why(err)})
		return Step{}, refusal(err)
	}
	var device secret.String
	var amr []string
	u, methods, err := a.proveKey(ctx, l, c, answer, from, func(tx document.Tx, l *Login) error {
		amr = nil
		if c.For == forSecond {
			t, err := a.still(ctx, tx, c, useSecond)
			if err != nil {
				return err
			}
			amr = t.AMR
			if err := tx.Delete(ctx, KindTicket, t.ID); err != nil {
				return err
			}
		}
		device = remember(l, from)
		return nil
	})
	if err != nil {
		return Step{}, fail("passkey", err)
	}
	if c.For == forSignIn {
		a.o.Throttle.Done(ctx, asking(from))
	}
	return a.open(ctx, u, append(slices.Clone(amr), methods...), device, from)
}

// owner is whose key is to answer: who the challenge was for, or, when it was for anybody, whose key has
// answered.
func (a *Accounts) owner(ctx context.Context, c ceremony, answer []byte) (Login, error) {
	if c.For != forSignIn {
		l, _, err := document.Get[Login](ctx, a.o.Store, c.User)
		return l, err
	}
	id, err := passkey.Answered(answer)
	if err != nil {
		return Login{}, err
	}
	l, _, err := document.Find[Login](ctx, a.o.Store, document.Key("passkey", passkey.Mark(id)))
	return l, err
}

// AnswerStepUp takes the answer to AskStepUp for the session that asked, and rotates its token.
func (a *Accounts) AnswerStepUp(ctx context.Context, tok, prompt secret.String, answer []byte, from From) (session.Session, secret.String, error) {
	none := func(err error) (session.Session, secret.String, error) {
		return session.Session{}, secret.String{}, fail("step up", err)
	}
	s, _, err := a.Session(ctx, tok)
	if err != nil {
		return none(err)
	}
	c, err := a.take(ctx, prompt, forStepUp)
	if err != nil {
		return none(err)
	}
	if c.Parent != s.ID || c.User != s.User {
		return none(ErrTicket)
	}
	l, err := a.owner(ctx, c, answer)
	if err != nil {
		return none(refusal(err))
	}
	_, methods, err := a.proveKey(ctx, l, c, answer, from, func(document.Tx, *Login) error { return nil })
	if err != nil {
		return none(err)
	}
	amr := slices.Clone(s.AMR)
	for _, m := range methods {
		if !slices.Contains(amr, m) {
			amr = append(amr, m)
		}
	}
	return a.o.Sessions.StepUp(ctx, tok, amr)
}

// proveKey checks an answer and takes its count, in one transaction with what it is given for.
func (a *Accounts) proveKey(ctx context.Context, l Login, c ceremony, answer []byte, from From, with func(document.Tx, *Login) error) (directory.User, []string, error) {
	u, bad, err := a.active(ctx, a.o.Store, l.User)
	if err != nil {
		return u, nil, err
	}
	no := func(reason string) (directory.User, []string, error) {
		a.emit(ctx, u, from, Event{Name: "signin.passkey", Reason: reason})
		return u, nil, ErrRefused
	}
	if bad != "" {
		return no(bad)
	}
	if a.o.Passkeys == nil {
		return u, nil, ErrNoPasskeys
	}
	use, err := a.o.Passkeys.Check(passkey.Person{ID: l.User}, l.Passkeys, c.Challenge, answer, c.For == forSignIn)
	if errors.Is(err, passkey.ErrRefused) {
		return no(err.Error())
	}
	if err != nil {
		return u, nil, err
	}
	var methods []string
	err = a.o.Store.Write(ctx, func(tx document.Tx) error {
		now, rev, err := document.Get[Login](ctx, tx, l.User)
		if err != nil {
			return err
		}
		if c.For != forSignIn && now.Generation != c.Generation {
			return ErrTicket
		}
		i := passkey.Index(now.Passkeys, use.Credential)
		if i < 0 {
			return ErrTicket // removed meanwhile
		}
		if err := now.Passkeys[i].Take(use, a.o.Now().UTC()); err != nil {
			return err
		}
		methods = now.Passkeys[i].AMR()
		if err := with(tx, &now); err != nil {
			return err
		}
		_, err = document.Put(ctx, tx, now, rev)
		return err
	})
	if errors.Is(err, passkey.ErrCount) {
		a.emit(ctx, u, from, Event{Name: "passkey.copied", Reason: err.Error()}) // an alarm
		return no(err.Error())
	}
	if err != nil {
		return u, nil, err
	}
	a.emit(ctx, u, from, Event{Name: "signin.passkey", OK: true, AMR: methods})
	return u, methods, nil
}

// refusal is what is said of an answer by nobody's key.
func refusal(err error) error {
	if errors.Is(err, passkey.ErrRefused) || errors.Is(err, document.ErrNotFound) {
		return ErrRefused
	}
	return fail("passkey", err)
}

func why(err error) string {
	if errors.Is(err, document.ErrNotFound) {
		return "nobody has this passkey"
	}
	return err.Error()
}
