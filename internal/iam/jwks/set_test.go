package jwks

import (
	"context"
	"crypto/elliptic"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// script is a source whose answers a test writes.
type script struct {
	mu    sync.Mutex
	raw   []byte
	err   error
	hang  bool
	reads atomic.Int32
}

func (s *script) JWKS(ctx context.Context) ([]byte, error) {
	s.reads.Add(1)
	s.mu.Lock()
	raw, err, hang := s.raw, s.err, s.hang
	s.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return raw, err
}

func (s *script) set(raw []byte, err error, hang bool) {
	s.mu.Lock()
	s.raw, s.err, s.hang = raw, err, hang
	s.mu.Unlock()
}

func newSet(t *testing.T, o Options) *Set {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Keys serve for as long as is stated while the issuer is away, then none does; and they serve
// again when it is back.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &script{raw: doc(t, ecJWK(t, elliptic.P256(), "P-256"))}
		var faults []error
		s := newSet(t, Options{Source: src, Every: time.Minute, MaxStale: 10 * time.Minute, Fault: func(err error) { faults = append(faults, err) }})
		if _, err := s.Keys(time.Now()); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("before the first reading: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		synctest.Wait()
		k, err := s.Keys(time.Now())
		if err != nil || len(k.Find("k", "ES256")) != 1 {
			t.Fatal(err)
		}
		for name, fault := range map[string]func(){
			"refused":  func() { src.set(nil, errors.New("refused"), false) },
			"hanging":  func() { src.set(nil, nil, true) },
			"nonsense": func() { src.set([]byte("<html>"), nil, false) },
			"empty":    func() { src.set([]byte(`{"keys":[]}`), nil, false) },
		} {
			good := doc(t, ecJWK(t, elliptic.P256(), "P-256"))
			src.set(good, nil, false)
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			fault()
			time.Sleep(8 * time.Minute)
			synctest.Wait()
			if _, err := s.Keys(time.Now()); err != nil {
				t.Errorf("%s: closed too early: %v", name, err)
			}
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			if _, err := s.Keys(time.Now()); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s: old keys still serve: %v", name, err)
			}
			src.set(good, nil, false)
			time.Sleep(90 * time.Second)
			synctest.Wait()
			if _, err := s.Keys(time.Now()); err != nil {
				t.Errorf("%s: not back: %v", name, err)
			}
		}
		if len(faults) == 0 || faults[len(faults)-1] != nil {
			t.Errorf("faults: %v", faults)
		}
		cancel()
		<-done
	})
}

// However many tokens name unknown keys, the issuer is asked once in each interval.
func TestFloodOfUnknownKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &script{raw: doc(t, ecJWK(t, elliptic.P256(), "P-256"))}
		s := newSet(t, Options{Source: src, Unknown: 10 * time.Second})
		if err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		src.reads.Store(0)
		time.Sleep(11 * time.Second)
		for range 60 {
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() { s.Missing(t.Context(), time.Second) })
			}
			wg.Wait()
			time.Sleep(time.Second)
		}
		if n := src.reads.Load(); n < 5 || n > 7 {
			t.Errorf("%d readings in a minute, want about 6", n)
		}
	})
}

// An issuer that does not answer holds up a few of the callers, for a short time.
func TestUnknownKeyWaitsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &script{hang: true}
		s := newSet(t, Options{Source: src})
		begun := time.Now()
		var held atomic.Int32
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if s.Missing(t.Context(), time.Second) {
					t.Error("told to look again")
				}
				if time.Since(begun) > 0 {
					held.Add(1)
				}
			})
		}
		wg.Wait()
		if d := time.Since(begun); d > time.Second || held.Load() > waiters {
			t.Errorf("%d callers were held, for %v", held.Load(), d)
		}
		time.Sleep(time.Minute)
	})
}

// A new key is found by the first token that names it.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := ecJWK(t, elliptic.P256(), "P-256")
		src := &script{raw: doc(t, first)}
		s := newSet(t, Options{Source: src})
		if err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		k, _ := s.Keys(time.Now())
		if err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if same, _ := s.Keys(time.Now()); same != k {
			t.Error("the same document made other keys")
		}
		src.set(doc(t, with(ecJWK(t, elliptic.P256(), "P-256"), "kid", "k2")), nil, false)
		time.Sleep(11 * time.Second)
		if !s.Missing(t.Context(), time.Second) {
			t.Fatal("not read")
		}
		now, _ := s.Keys(time.Now())
		if len(now.Find("k2", "ES256")) != 1 || len(now.Find("k", "ES256")) != 0 || now.Generation == k.Generation {
			t.Error("the old keys are still there")
		}
		for _, kid := range []string{"", "K2", "k2 ", "../k2", "k2\x00", "*", "k%32"} {
			if len(now.Find(kid, "ES256")) != 0 {
				t.Errorf("%q found a key", kid)
			}
		}
	})
}

type panicking struct{}

func (panicking) JWKS(context.Context) ([]byte, error) { panic("boom") }

func TestSourceThatPanics(t *testing.T) {
	s := newSet(t, Options{Source: panicking{}})
	if err := s.Refresh(t.Context()); err == nil {
		t.Error("no error")
	}
}

func TestNewRefuses(t *testing.T) {
	for name, o := range map[string]Options{
		"no source":     {},
		"negative":      {Source: &script{}, Every: -1},
		"stale at once": {Source: &script{}, Every: time.Hour, MaxStale: time.Minute},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
