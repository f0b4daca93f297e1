package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/directory"
	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/secret"
	"sallyport.dev/sallyport/internal/store/pgtest"
	"sallyport.dev/sallyport/internal/store/postgres"
	"sallyport.dev/sallyport/internal/store/relational"
	"sallyport.dev/sallyport/internal/store/sqlite"
)

func TestMain(m *testing.M) {
	defer pgtest.Stop()
	m.Run()
}

// sealing is the key of the installation.
var sealing = []byte("a key of the tests, of 32 bytes..")

func lite(t *testing.T) *relational.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db.DB
}

func pg(t *testing.T) *relational.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), secret.New(pgtest.DSN(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db.DB
}

// fill makes a state with everything in it: keys with every field, documents, changed and deleted ones.
func fill(t *testing.T, db *relational.DB, people int) {
	t.Helper()
	ctx := t.Context()
	ds := db.Documents()
	for i := range people {
		u := directory.User{ID: fmt.Sprintf("user_%04d", i), Tenant: "acme", UserName: fmt.Sprintf("Ünï %d", i), Active: i%3 > 0, Attributes: map[string]any{"a": "\u2028<b>", "n": 1.5}}
		if _, err := document.Insert(ctx, ds, u); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, _, err := document.Update(ctx, ds, "user_0001", 0, func(u *directory.User) error { u.Name = "changed"; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := ds.Write(ctx, func(tx document.Tx) error { return tx.Delete(ctx, directory.KindUser, "user_0002") }); err != nil {
		t.Fatal(err)
	}
	if err := ds.Write(ctx, func(tx document.Tx) error {
		_, err := tx.Put(ctx, document.Doc{Kind: "session", ID: "ses_1", Tenant: "acme", Keys: []string{"token:x"}, Body: []byte(`{}`)})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		k := iam.Key{
			ID: fmt.Sprintf("key%09d", i), Tenant: "acme", Name: "k", Owner: "o", PepperVersion: "1", Scopes: iam.Scopes{Upstreams: []string{"*"}, Endpoints: []string{"chat.*"}, Models: []string{"m"}},
			CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Created: time.UnixMicro(1_700_000_000_000_000 + int64(i)).UTC(), Detail: iam.Detail{Team: "t", Features: []string{}, Purpose: "p"},
		}
		k.Current[0] = byte(i)
		if i == 1 {
			k.Previous[1] = 7
			k.PreviousUntil = k.Created.Add(time.Hour)
		}
		if i == 2 {
			k.Revoked = k.Created.Add(time.Minute)
		}
		if err := db.Keys().Insert(ctx, k); err != nil {
			t.Fatal(err)
		}
	}
}

func state(t *testing.T, db *relational.DB) (keys []iam.Key, docs []document.Doc) {
	t.Helper()
	keys, _, err := db.Keys().Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if docs, _, err = db.Documents().Changes(t.Context(), document.Position{}, 0); err != nil {
		t.Fatal(err)
	}
	return keys, slices.DeleteFunc(docs, func(d document.Doc) bool { return d.Kind == "session" })
}

func written(t *testing.T, db *relational.DB, to ...age.Recipient) []byte {
	t.Helper()
	var b bytes.Buffer
	end, err := Write(t.Context(), &b, db, Header{Release: "test"}, sealing, []string{"session"}, to...)
	if err != nil || end.Keys == 0 || end.Documents == 0 {
		t.Fatalf("%+v %v", end, err)
	}
	return b.Bytes()
}

// From either engine into either engine: the same state, which goes on as the old one would have.
func TestThereAndBack(t *testing.T) {
	engines := map[string]func(*testing.T) *relational.DB{"sqlite": lite, "postgres": pg}
	for from, open := range engines {
		for to, target := range engines {
			t.Run(from+" to "+to, func(t *testing.T) {
				a, b := open(t), target(t)
				fill(t, a, 1200)
				raw := written(t, a)
				if bytes.Contains(raw, []byte(`"ses_1"`)) {
					t.Error("who is signed in is in the backup")
				}
				if _, end, err := Read(t.Context(), bytes.NewReader(raw), b, sealing); err != nil || end.Documents != 1200 {
					t.Fatalf("%+v %v", end, err)
				}
				k1, d1 := state(t, a)
				k2, d2 := state(t, b)
				if !reflect.DeepEqual(k1, k2) {
					t.Errorf("keys differ: %d, %d", len(k1), len(k2))
				}
				if len(d1) != len(d2) {
					t.Fatalf("%d documents, not %d", len(d2), len(d1))
				}
				for i := range d1 {
					if d1[i].ID != d2[i].ID || d1[i].Revision != d2[i].Revision || d1[i].Deleted != d2[i].Deleted || !bytes.Equal(d1[i].Body, d2[i].Body) || !slices.Equal(d1[i].Keys, d2[i].Keys) {
						t.Fatalf("%+v, not %+v", d2[i], d1[i])
					}
				}
				// It goes on: names are taken, ids are never used again, revisions grow.
				if _, err := document.Insert(t.Context(), b.Documents(), directory.User{ID: "user_new", Tenant: "acme", UserName: "ünï 7"}); !errors.Is(err, document.ErrExists) {
					t.Error(err)
				}
				if _, err := document.Insert(t.Context(), b.Documents(), directory.User{ID: "user_0002", Tenant: "acme", UserName: "again"}); !errors.Is(err, document.ErrExists) {
					t.Error(err)
				}
				rev, err := document.Insert(t.Context(), b.Documents(), directory.User{ID: "user_new", Tenant: "acme", UserName: "new"})
				if err != nil || rev <= d2[len(d2)-1].Revision {
					t.Error(rev, err)
				}
				if _, err := b.Keys().Update(t.Context(), "key000000003", func(k *iam.Key) error { k.Name = "x"; return nil }); err != nil {
					t.Error(err)
				}
				// Not over something.
				if _, _, err := Read(t.Context(), bytes.NewReader(raw), b, sealing); !errors.Is(err, relational.ErrNotEmpty) {
					t.Error(err)
				}
			})
		}
	}
}

// Whatever is wrong with it: nothing of it is taken.
func TestDamaged(t *testing.T) {
	a := lite(t)
	fill(t, a, 20)
	raw := written(t, a)
	lines := bytes.SplitAfter(bytes.TrimSuffix(raw, []byte("\n")), []byte("\n"))
	join := func(ls ...[]byte) []byte { return bytes.Join(ls, nil) }
	cases := map[string][]byte{
		"empty": nil, "no backup": []byte("{}\n"), "cut off": raw[:len(raw)/2], "without its end": join(lines[:len(lines)-1]...),
		"a line less": join(append(slices.Clone(lines[:5]), lines[6:]...)...), "a line twice": join(append(slices.Clone(lines[:6]), lines[5:]...)...),
		"two lines changed places": join(append(slices.Clone(lines[:9]), append([][]byte{lines[10], lines[9]}, lines[11:]...)...)...),
		"something after its end":  append(bytes.Clone(raw), "{}\n"...), "another member": bytes.Replace(raw, []byte(`{"document":{`), []byte(`{"document":{"x":1,`), 1),
		"newer": bytes.Replace(raw, []byte(`"sallyport_backup":1`), []byte(`"sallyport_backup":2`), 1), "a header changed": bytes.Replace(raw, []byte(`"release":"test"`), []byte(`"release":"tesu"`), 1),
		"an end of its own": append(join(lines[:3]...), `{"end":{"keys":2,"documents":0,"mac":"00"}}`+"\n"...),
	}
	for i := 0; i < len(raw); i += len(raw) / 97 {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		cases[fmt.Sprint("bit at ", i)] = bad
	}
	db := lite(t) // what is refused leaves it empty, for the next
	for name, b := range cases {
		if _, _, err := Read(t.Context(), bytes.NewReader(b), db, sealing); err == nil {
			t.Errorf("%s: taken", name)
		}
		if ks, ds := state(t, db); len(ks)+len(ds) != 0 {
			t.Fatalf("%s: %d keys and %d documents are left", name, len(ks), len(ds))
		}
	}
}

func TestEncrypted(t *testing.T) {
	me, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, _ := age.GenerateX25519Identity()
	a := lite(t)
	fill(t, a, 10)
	raw := written(t, a, me.Recipient())
	if bytes.Contains(raw, []byte("user_0001")) {
		t.Error("it is readable")
	}
	for name, try := range map[string]func(*relational.DB) error{
		"no identity": func(db *relational.DB) error {
			_, _, err := Read(t.Context(), bytes.NewReader(raw), db, sealing)
			return err
		},
		"another identity": func(db *relational.DB) error {
			_, _, err := Read(t.Context(), bytes.NewReader(raw), db, sealing, other)
			return err
		},
		"cut off": func(db *relational.DB) error {
			_, _, err := Read(t.Context(), bytes.NewReader(raw[:len(raw)-20]), db, sealing, me)
			return err
		},
	} {
		if try(lite(t)) == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, end, err := Read(t.Context(), bytes.NewReader(raw), lite(t), sealing, me); err != nil || end.Keys != 5 {
		t.Error(end, err)
	}
}

// While it is written, others write on; what it holds is one moment.
func TestOneMoment(t *testing.T) {
	for name, open := range map[string]func(*testing.T) *relational.DB{"sqlite": lite, "postgres": pg} {
		t.Run(name, func(t *testing.T) {
			a := open(t)
			ds := a.Documents()
			// Two documents that are always changed together; every change takes them to the end, behind more
			// documents than are read at once, so that they are read after most others.
			fill(t, a, 1100)
			for _, id := range []string{"team_a", "team_b"} {
				if _, err := document.Insert(t.Context(), ds, directory.Team{ID: id, Tenant: "acme", Name: id + " 0"}); err != nil {
					t.Fatal(err)
				}
			}
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wrote := 0
			wg.Go(func() {
				for ctx.Err() == nil {
					wrote++
					err := ds.Write(ctx, func(tx document.Tx) error {
						for _, id := range []string{"team_a", "team_b"} {
							v, rev, err := document.Get[directory.Team](ctx, tx, id)
							if err != nil {
								return err
							}
							v.Name = fmt.Sprint(id, " ", wrote)
							if _, err := document.Put(ctx, tx, v, rev); err != nil {
								return err
							}
						}
						// And one is made that was not there: a backup that sees more than one moment has too many.
						return one(ctx, tx, wrote)
					})
					if err != nil && ctx.Err() == nil {
						t.Errorf("a writer beside the backup: %v", err)
						return
					}
				}
			})
			for range 4 {
				raw := string(written(t, a))
				i, j := strings.Index(raw, `"name":"team_a `), strings.Index(raw, `"name":"team_b `)
				if i < 0 || j < 0 {
					t.Fatal("a team is missing")
				}
				n, m := number(raw[i+15:]), number(raw[j+15:])
				if n != m {
					t.Errorf("two moments: %s and %s", n, m)
				}
				if made := fmt.Sprint(strings.Count(raw, `"kind":"group"`)); made != n {
					t.Errorf("two moments: %s groups after %s changes", made, n)
				}
				if _, _, err := Read(t.Context(), strings.NewReader(raw), lite(t), sealing); err != nil {
					t.Error(err)
				}
			}
			stop()
			wg.Wait()
			t.Logf("%d changes beside four backups", wrote)
		})
	}
}

func one(ctx context.Context, tx document.Tx, n int) error {
	// Somebody of the first pages moves to the end: read at two moments, they are there twice.
	u, rev, err := document.Get[directory.User](ctx, tx, fmt.Sprintf("user_%04d", 3+n%1000))
	if err != nil {
		return err
	}
	u.Email = fmt.Sprint(n)
	if _, err := document.Put(ctx, tx, u, rev); err != nil {
		return err
	}
	_, err = document.Put(ctx, tx, directory.Group{ID: fmt.Sprintf("group_%d", n), Tenant: "acme", Name: fmt.Sprint("group ", n)}, 0)
	return err
}

func number(s string) string { return s[:strings.IndexByte(s, '"')] }

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"sallyport_backup":1,"release":"x","made":"2026-01-01T00:00:00Z"}` + "\n" + `{"end":{"keys":0,"documents":0,"mac":"x"}}` + "\n"))
	f.Add([]byte(`{"sallyport_backup":1}` + "\n" + `{"document":{"kind":"user","id":"u","tenant":"t","body":{},"revision":1}}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		taken := false
		_, _, err := Read(t.Context(), bytes.NewReader(b), target(func(next func() (*relational.KeyRow, *document.Doc, bool, error)) error {
			for {
				k, d, ok, err := next()
				if err != nil {
					return err
				}
				if !ok {
					taken = true
					return nil
				}
				if (k == nil) == (d == nil) {
					t.Fatal("a row that is neither or both")
				}
			}
		}), sealing)
		if taken && err != nil {
			t.Fatal(err)
		}
	})
}

type target func(next func() (*relational.KeyRow, *document.Doc, bool, error)) error

func (f target) Restore(_ context.Context, next func() (*relational.KeyRow, *document.Doc, bool, error)) error {
	return f(next)
}
