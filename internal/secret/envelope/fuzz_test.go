package envelope

import (
	"bytes"
	"testing"

	"sallyport.dev/sallyport/internal/secret"
)

// FuzzOpen: no bytes but those that were sealed for a place open in it, and none bring it down.
func FuzzOpen(f *testing.F) {
	k := ring(f, newMemory(), testKEK(f, 1))
	box := seal(f, k, "a", place, canary)
	f.Add(box, "a", "c1")
	f.Add(box, "a", "c2")
	f.Add(box[:headSize], "a", "c1")
	f.Add([]byte{}, "", "")
	f.Add(append(bytes.Clone(box), 1), "a", "c1")
	f.Add([]byte{1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, "b", "c1")
	f.Fuzz(func(t *testing.T, b []byte, tenant, row string) {
		s, err := k.Open(tenant, Place{"credential", row, "version/1"}, b)
		same := bytes.Equal(b, box) && tenant == "a" && row == "c1"
		if (err == nil) != same || !same && !s.Empty() {
			t.Fatal("opened", err)
		}
	})
}

func FuzzParseKEK(f *testing.F) {
	f.Add("AGE-SECRET-KEY-1QQQ")
	f.Add("# c\nAGE-SECRET-KEY-1\nAGE-SECRET-KEY-1")
	f.Add("gIeOlZyjqrG4v8bN1Nvi6fD3/gUMExohKC82PURLUlk=")
	f.Fuzz(func(t *testing.T, text string) {
		if k, err := ParseKEK(secret.New(text)); (err == nil) == k.IsZero() || (err == nil) != (len(k.ID()) == 16) {
			t.Fatal(err)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	k := ring(b, newMemory(), testKEK(b, 1))
	box := seal(b, k, "a", place, canary)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := k.Open("a", place, box); err != nil {
				b.Fatal(err)
			}
		}
	})
}
