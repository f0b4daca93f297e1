package jwtbearer

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// BenchmarkKnown is a call with a token that was seen before, from every processor at once, over
// 4,096 tokens of about 1 KB.
func BenchmarkKnown(b *testing.B) {
	w := newWorld(b)
	w.Verifier.now = time.Now // what it is in service
	w.set(time.Now())
	if err := w.setA.Refresh(ctx); err != nil {
		b.Fatal(err)
	}
	now := time.Now().Unix()
	tokens := make([]string, 4096)
	for i := range tokens {
		tokens[i] = w.a.token(b, "jti", fmt.Sprint(i), "iat", now, "nbf", nil, "exp", now+3000, "x", strings.Repeat("x", 500))
		if _, err := w.Verify(ctx, tokens[i]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(tokens[0])), "token-bytes")
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		i := 0
		for pb.Next() {
			i = (i + 7) % 1024
			if _, err := w.Verify(ctx, tokens[i]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkUnknown is a call with a token that was never seen.
func BenchmarkUnknown(b *testing.B) {
	w := newWorld(b)
	ed := newEd(b, "k-ed")
	w.pa.set(b, w.a, w.rsaA, ed)
	if err := w.setA.Refresh(ctx); err != nil {
		b.Fatal(err)
	}
	for _, k := range []keypair{w.a, w.rsaA, ed} {
		tok := k.token(b)
		b.Run(k.alg(), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := w.verify(ctx, tok, start); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
	b.Run("nonsense", func(b *testing.B) {
		tok := w.a.token(b, "aud", "other")
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.verify(ctx, tok, start); err == nil {
				b.Fatal("accepted")
			}
		}
	})
}
