package server

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"filippo.io/age"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/iam/account"
	"sallyport.dev/sallyport/internal/iam/datakeys"
	"sallyport.dev/sallyport/internal/iam/session"
	"sallyport.dev/sallyport/internal/iam/signing"
	"sallyport.dev/sallyport/internal/iam/sso"
	"sallyport.dev/sallyport/internal/secret/envelope"
	"sallyport.dev/sallyport/internal/store/backup"
)

// passing are documents that a backup leaves out: who is signed in, what is under way, and keys that sign
// tokens of a quarter of an hour.
var passing = []string{session.Kind, account.KindTicket, sso.KindOnce, signing.Kind}

// Backup writes everything that the database of a configuration holds to w, as it is at one moment, while
// a gateway runs or not. See package backup. The caller has put it on the record.
func Backup(ctx context.Context, cfg *config.Config, w io.Writer, recipients ...age.Recipient) (backup.End, error) {
	db, err := openDatabase(ctx, cfg)
	if err != nil {
		return backup.End{}, err
	}
	key, err := backupKey(cfg)
	if err != nil {
		return backup.End{}, errors.Join(err, db.close())
	}
	end, err := backup.Write(ctx, w, db.all, backup.Header{Release: Version(), Made: time.Now().UTC()}, key, passing, recipients...)
	return end, errors.Join(err, db.close())
}

// Restored says what a restore came to.
type Restored struct {
	backup.Header
	backup.End
	// Sealed says what is wrong with the secrets in it; empty when they can be opened.
	Sealed string `json:"sealed,omitempty"`
}

// Restore fills the empty database of a configuration from a backup: all of it or nothing.
func Restore(ctx context.Context, cfg *config.Config, r io.Reader, identities ...age.Identity) (out Restored, err error) {
	db, err := openDatabase(ctx, cfg)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, db.close()) }()
	key, err := backupKey(cfg)
	if err != nil {
		return out, err
	}
	if out.Header, out.End, err = backup.Read(ctx, r, db.all, key, identities...); err != nil {
		return out, err
	}
	if err := opens(ctx, cfg, db); err != nil {
		out.Sealed = err.Error()
	}
	return out, nil
}

// backupKey seals backups. It is made of the pepper, without which the keys in a backup are of no use anyway.
func backupKey(cfg *config.Config) ([]byte, error) {
	st, err := openState(cfg)
	if err != nil {
		return nil, err
	}
	pepper, err := st.pepperFor(cfg)
	if err != nil {
		return nil, err
	}
	return hkdf.Key(sha256.New, []byte(pepper.Reveal()), nil, "sallyport backup 1", sha256.Size)
}

// opens says whether the master keys of a configuration open what is sealed.
func opens(ctx context.Context, cfg *config.Config, db *store) error {
	kek, err := masterKey(cfg)
	if err != nil {
		return err
	}
	old, err := oldMasterKeys(cfg)
	if err != nil {
		return err
	}
	if _, err := envelope.New(ctx, envelope.Options{Store: datakeys.Store{Docs: db.docs}, Current: kek, Old: old}); err != nil {
		return fmt.Errorf("the secrets in it are sealed by another master key; name it in iam.master_key or iam.old_master_keys: %w", err)
	}
	return nil
}
