package envelope

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/secret"
)

const canary = "sk-canary-4b1d-provider-credential"

var place = Place{"credential", "c1", "version/1"}

func testKEK(t testing.TB, n byte) KEK {
	t.Helper()
	b := make([]byte, keySize)
	for i := range b {
		b[i] = byte(i)*7 + n*31 + 0x80
	}
	k, err := rawKEK(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ring(t testing.TB, s Store, current KEK, old ...KEK) *Keyring {
	t.Helper()
	k, err := New(t.Context(), Options{Store: s, Current: current, Old: old})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func seal(t testing.TB, k *Keyring, tenant string, p Place, s string) []byte {
	t.Helper()
	b, err := k.Seal(tenant, p, secret.New(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func opens(t testing.TB, k *Keyring, tenant string, p Place, box []byte, want string) {
	t.Helper()
	if s, err := k.Open(tenant, p, box); err != nil || s.Reveal() != want {
		t.Fatalf("open: %v, same text %v", err, s.Reveal() == want)
	}
}

// The vectors of c2sp.org/XAES-256-GCM.
func TestXAESVectors(t *testing.T) {
	for _, v := range []struct {
		key       byte
		aad, want string
	}{
		{1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		key := [keySize]byte(bytes.Repeat([]byte{v.key}, keySize))
		nonce := []byte("ABCDEFGHIJKLMNOPQRSTUVWX")
		x := newXAES(&key)
		if got := hex.EncodeToString(x.derived(nonce).Seal(nil, nonce[12:], []byte("XAES-256-GCM"), []byte(v.aad))); got != v.want {
			t.Errorf("key %d: %s", v.key, got)
		}
	}
}

func TestNoncesDiffer(t *testing.T) {
	k := ring(t, newMemory(), testKEK(t, 1))
	seen := map[string]bool{}
	for range 1000 {
		b := seal(t, k, "a", place, "same")
		seen[string(b[headSize:headSize+nonceSize])] = true
	}
	if len(seen) != 1000 {
		t.Fatalf("%d nonces in 1000 seals", len(seen))
	}
}

func TestCiphertextMovedElsewhereFails(t *testing.T) {
	m := newMemory()
	k := ring(t, m, testKEK(t, 1))
	box := seal(t, k, "acme", place, canary)
	seal(t, k, "other", place, "x") // so that the other tenant has a key of the same version
	opens(t, k, "acme", place, box, canary)
	for _, to := range []struct {
		tenant string
		p      Place
	}{
		{"other", place}, {"", place}, {"acm", Place{"ecredential", "c1", "version/1"}},
		{"acme", Place{"credentials", "c1", "version/1"}}, {"acme", Place{"credential", "c2", "version/1"}},
		{"acme", Place{"credential", "c1", "version/2"}},
		// The same letters, divided otherwise.
		{"acme", Place{"credentialc", "1", "version/1"}}, {"acme", Place{"credential", "c1v", "ersion/1"}},
		{"acme", Place{"c1", "credential", "version/1"}},
	} {
		s, err := k.Open(to.tenant, to.p, box)
		if err == nil || !s.Empty() || !errors.Is(err, ErrOpen) && !errors.Is(err, ErrUnknownKey) {
			t.Errorf("%v opened: %v", to, err)
		}
	}
	// Even if the other tenant's row held the same data key and the ciphertext was moved with it.
	w := m.rows["acme"][1]
	w.Tenant = "thief"
	m.rows["thief"] = map[uint32]Wrapped{1: w}
	if _, err := k.Open("thief", place, box); !errors.Is(err, ErrWrapped) {
		t.Errorf("a data key moved to another tenant: %v", err)
	}
	// And if it were unwrapped there all the same, the tenant is in the additional data.
	r, _ := header("thief", box)
	r0, _ := header("acme", box)
	if _, err := k.keys.Load().byRef[r0].xaes.open(box[headSize:], place.aad(&r)); err == nil {
		t.Error("the tenant is not bound")
	}
}

func TestEveryFlippedBitFails(t *testing.T) {
	k := ring(t, newMemory(), testKEK(t, 1))
	box := seal(t, k, "acme", place, canary)
	for i := range box {
		for bit := range 8 {
			b := bytes.Clone(box)
			b[i] ^= 1 << bit
			if s, err := k.Open("acme", place, b); err == nil || !s.Empty() {
				t.Fatalf("bit %d of byte %d", bit, i)
			}
		}
	}
	for n := range len(box) {
		if _, err := k.Open("acme", place, box[:n]); err == nil {
			t.Fatalf("cut to %d", n)
		}
	}
	if _, err := k.Open("acme", place, append(bytes.Clone(box), 0)); !errors.Is(err, ErrOpen) {
		t.Fatal("longer")
	}
}

func TestWrappedKeyIsBoundToAllOfItsRow(t *testing.T) {
	m := newMemory()
	kek1, kek2 := testKEK(t, 1), testKEK(t, 2)
	k := ring(t, m, kek1)
	seal(t, k, "acme", place, canary)
	good := m.rows["acme"][1]
	for name, change := range map[string]func(*Wrapped){
		"tenant":  func(w *Wrapped) { w.Tenant = "other" },
		"version": func(w *Wrapped) { w.Version = 2 },
		"id":      func(w *Wrapped) { w.ID = "00" + w.ID[2:] },
		"kek":     func(w *Wrapped) { w.KEK = kek2.id },
		"no kek":  func(w *Wrapped) { w.KEK = "" },
		"blob":    func(w *Wrapped) { w.Blob[40] ^= 1 },
		"short":   func(w *Wrapped) { w.Blob = w.Blob[:20] },
		"format":  func(w *Wrapped) { w.Blob[0] = 2 },
		"odd id":  func(w *Wrapped) { w.ID += "0" },
		"zero":    func(w *Wrapped) { w.Version = 0 },
	} {
		w := good
		w.Blob = bytes.Clone(good.Blob)
		if change(&w); name == "id" && w.ID == good.ID {
			w.ID = "ff" + w.ID[2:]
		}
		m.rows = map[string]map[uint32]Wrapped{w.Tenant: {w.Version: w}}
		if _, err := New(t.Context(), Options{Store: m, Current: kek1, Old: []KEK{kek2}}); err == nil {
			t.Errorf("%s: the changed row was taken", name)
		}
	}
}

func TestHotPathAsksNoStore(t *testing.T) {
	m := newMemory()
	k := ring(t, m, testKEK(t, 1))
	box := seal(t, k, "acme", place, canary)
	m.setDown(true)
	n := m.count()
	k.mu.Lock() // and takes no lock
	opens(t, k, "acme", place, box, canary)
	opens(t, k, "acme", place, seal(t, k, "acme", place, "b"), "b")
	k.mu.Unlock()
	if m.count() != n {
		t.Fatal("the store was asked")
	}
	if _, err := k.Seal("new", place, secret.New("x")); !errors.Is(err, errStore) {
		t.Fatalf("a new tenant while the store is down: %v", err)
	}
	m.setDown(false)
	seal(t, k, "new", place, "x")
}

func TestUnknownDataKeyIsReadOnce(t *testing.T) {
	m := newMemory()
	now := time.Unix(1_800_000_000, 0)
	a := ring(t, m, testKEK(t, 1))
	b, err := New(t.Context(), Options{Store: m, Current: testKEK(t, 1), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	box := seal(t, a, "acme", place, canary)
	n := m.count()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := b.Open("acme", place, box); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := m.count() - n; got != 1 {
		t.Errorf("%d reads for one key", got)
	}
	forged := bytes.Clone(box)
	forged[4] = 9
	n = m.count()
	for range 100 {
		if _, err := b.Open("acme", place, forged); !errors.Is(err, ErrUnknownKey) {
			t.Fatal(err)
		}
	}
	if got := m.count() - n; got != 1 {
		t.Errorf("%d reads for a key that is not there", got)
	}
	now = now.Add(forget)
	if _, _ = b.Open("acme", place, forged); m.count()-n != 2 {
		t.Error("it is never asked for again")
	}
	for i := range 3 * maxMissing {
		forged[12], forged[11] = byte(i), byte(i>>8)
		_, _ = b.Open("acme", place, forged)
	}
	if len(b.missing) > maxMissing {
		t.Errorf("%d remembered", len(b.missing))
	}
}

func TestTwoProcessesMakeOneKey(t *testing.T) {
	m := newMemory()
	rings := []*Keyring{ring(t, m, testKEK(t, 1)), ring(t, m, testKEK(t, 1)), ring(t, m, testKEK(t, 1))}
	var wg sync.WaitGroup
	for i := range 60 {
		k, tenant := rings[i%3], fmt.Sprint("t", i%5)
		wg.Go(func() {
			box, err := k.Seal(tenant, place, secret.New(canary))
			if err != nil {
				t.Error(err)
				return
			}
			for _, o := range rings {
				if s, err := o.Open(tenant, place, box); err != nil || s.Reveal() != canary {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for tenant, vs := range m.rows {
		if len(vs) != 1 {
			t.Errorf("%s has %d data keys", tenant, len(vs))
		}
	}
}

func TestDumpHoldsNoUsableSecret(t *testing.T) {
	m := newMemory()
	raw := []byte("\x91\x02kek-canary-bytes-of-32-length-")
	keep := bytes.Clone(raw)
	kek, err := rawKEK(raw)
	if err != nil {
		t.Fatal(err)
	}
	k := ring(t, m, kek)
	var dump bytes.Buffer
	for i := range 20 {
		dump.Write(seal(t, k, fmt.Sprint("t", i%3), place, canary))
	}
	if _, err := k.Rotate(t.Context(), "t1"); err != nil {
		t.Fatal(err)
	}
	next := testKEK(t, 9)
	if err := k.SetKEKs(next, kek); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Rewrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The data keys in the clear, which only this test may know.
	var canaries [][]byte
	for _, w := range m.rows {
		for _, x := range w {
			key, err := x.unwrap(k.keks.Load().all)
			if err != nil {
				t.Fatal(err)
			}
			canaries = append(canaries, key[:])
		}
	}
	canaries = append(canaries, []byte(canary), keep)
	dump.Write(m.seen.Bytes())
	fmt.Fprintf(&dump, "%v %+v %#v %s %x %d", kek, kek, []KEK{kek}, kek, kek, kek)
	if len(canaries) != 6 || dump.Len() < 2000 {
		t.Fatalf("%d canaries, %d bytes", len(canaries), dump.Len())
	}
	for i, c := range canaries {
		for _, form := range []string{string(c), string(c[:16]), hex.EncodeToString(c), base64.StdEncoding.EncodeToString(c), fmt.Sprint(c)} {
			if strings.Contains(dump.String(), form) {
				t.Errorf("canary %d is in the dump", i)
			}
		}
	}
	// And without the KEK none of it opens.
	if _, err := New(t.Context(), Options{Store: m, Current: testKEK(t, 3)}); !errors.Is(err, ErrNoKEK) {
		t.Errorf("without the KEK: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	k := ring(t, newMemory(), testKEK(t, 1))
	for _, p := range []Place{{}, {"t", "r", ""}, {"t", "", "c"}, {"", "r", "c"}, {strings.Repeat("t", maxPart+1), "r", "c"}} {
		if _, err := k.Seal("a", p, secret.New(canary)); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%v: %v", p, err)
		}
		if _, err := k.Open("a", p, nil); err == nil {
			t.Errorf("%v", p)
		}
	}
	if _, err := k.Seal(strings.Repeat("t", maxPart+1), place, secret.New("x")); err == nil {
		t.Error("a long tenant")
	}
	if _, err := k.Seal("a", place, secret.New(strings.Repeat("x", MaxPlain+1))); err == nil {
		t.Error("a long secret")
	}
	opens(t, k, "a", place, seal(t, k, "a", place, strings.Repeat("x", MaxPlain)), strings.Repeat("x", MaxPlain))
	opens(t, k, "a", place, seal(t, k, "a", place, ""), "")
	if _, err := New(context.Background(), Options{Store: newMemory()}); err == nil {
		t.Error("without a KEK")
	}
	if _, err := New(context.Background(), Options{Current: testKEK(t, 1)}); err == nil {
		t.Error("without a store")
	}
	if err := k.SetKEKs(testKEK(t, 1), KEK{}); err == nil {
		t.Error("an empty old KEK")
	}
}
