package iam_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam"
	"sallyport.dev/sallyport/internal/iam/apikey"
)

// Whether an id exists cannot be told from how long a refusal takes: 100,000 guesses of each kind, taken in
// turns, compared as dudect does (Reparaz, Balasch, Verbauwhede 2017: Welch's t after cropping). A machine
// that others use makes noise, so a round that differs is tried again; a missing HMAC differs in all of them.
func TestUnknownIDAndWrongSecretTakeTheSameTime(t *testing.T) {
	h, err := apikey.NewHasher(pepper)
	if err != nil {
		t.Fatal(err)
	}
	const n, ids = 100_000, 64
	var keys memory
	var guesses [2][]string // with a known id, and with none
	for range ids {
		k := apikey.Generate(apikey.NewID())
		keys = append(keys, iam.Key{ID: k.ID, Name: "k", Current: h.Sum(k), PepperVersion: h.Version()})
		guesses[0] = append(guesses[0], apikey.Generate(k.ID).Secret().Reveal())
		guesses[1] = append(guesses[1], apikey.Generate(apikey.NewID()).Secret().Reveal())
	}
	m, err := iam.New(iam.Options{Mode: iam.ModeKeys, Pepper: pepper, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	authn := m.Authenticate()
	x := call("")
	x.Header["Authorization"] = []string{""}
	round := func() (welch, ratio float64) {
		var took [2][]float64
		for i := range 2 * n {
			x.Header["Authorization"][0] = "Bearer " + guesses[i%2][i/2%ids]
			start := time.Now()
			d, err := authn.Admit(ctx, x)
			el := time.Since(start)
			if err != nil || !d.Denied() {
				t.Fatal(d, err)
			}
			took[i%2] = append(took[i%2], float64(el))
		}
		var mean, spread [2]float64
		for k := range took {
			slices.Sort(took[k])
			took[k] = took[k][:n*9/10]
			for _, v := range took[k] {
				mean[k] += v / float64(len(took[k]))
			}
			for _, v := range took[k] {
				spread[k] += (v - mean[k]) * (v - mean[k]) / float64(len(took[k])-1)
			}
		}
		welch = (mean[0] - mean[1]) / math.Sqrt((spread[0]+spread[1])/float64(len(took[0])))
		return welch, took[1][len(took[1])/2] / took[0][len(took[0])/2]
	}
	for try := 1; ; try++ {
		welch, ratio := round()
		t.Logf("t %.1f, median of unknown ids over wrong secrets %.3f", welch, ratio)
		if math.Abs(welch) < 5 || math.Abs(ratio-1) < 0.1 {
			return
		}
		if try == 5 {
			t.Fatal("unknown ids are told from wrong secrets by time")
		}
	}
}
