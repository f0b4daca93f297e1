package iam_test

import (
	"context"
	"fmt"
	"testing"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/apikey"
)

// memory is a store that answers at once, so that the benchmark measures the hot path alone.
type memory []iam.Key

func (m memory) Keys(context.Context) ([]iam.Key, int64, error) { return m, 1, nil }
func (m memory) Changed(_ context.Context, after int64) ([]iam.Key, bool, int64, error) {
	if after > 0 {
		return nil, false, 1, nil
	}
	return m, true, 1, nil
}
func (m memory) Version(context.Context) (int64, error) { return 1, nil }

// BenchmarkAdmit is both stages with 100,000 keys, from every processor at once.
func BenchmarkAdmit(b *testing.B) {
	h, err := apikey.NewHasher(pepper)
	if err != nil {
		b.Fatal(err)
	}
	const n = 100_000
	keys, tokens := make(memory, n), make([]string, n)
	scopes := iam.Scopes{Upstreams: []string{"openai"}, Endpoints: []string{"chat.*", "responses"}, Models: []string{"gpt-5*"}}
	for i := range keys {
		t := apikey.Generate(apikey.NewID())
		keys[i] = iam.Key{ID: t.ID, Name: fmt.Sprint(i), Current: h.Sum(t), PepperVersion: h.Version(), Scopes: scopes}
		tokens[i] = t.Secret().Reveal()
	}
	m, err := iam.New(iam.Options{Mode: iam.ModeKeys, Pepper: pepper, Keys: keys})
	if err != nil {
		b.Fatal(err)
	}
	authn, authz := m.Authenticate(), m.Authorize()
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		x := call("")
		x.Header["Authorization"] = []string{""}
		i := 0
		for pb.Next() {
			i = (i + 7919) % n
			x.Header["Authorization"][0] = "Bearer " + tokens[i]
			for _, s := range [...]gate.Stage{authn, authz} {
				if d, err := s.Admit(ctx, x); err != nil || d.Denied() {
					b.Fatal(d, err)
				}
			}
		}
	})
}
