package nn

import (
	"strings"
	"testing"

	"sallyport.dev/sallyport/internal/nn/kernel"
)

// Kernels that compute something else are found before they judge.
func TestKernelsThatAreWrongAreRefused(t *testing.T) {
	file := packed(t, trained(small, 9))
	good, err := OpenOn(kernel.Plain, file)
	if err != nil {
		t.Fatal(err)
	}
	wrong := *good.kern
	wrong.Name = "wrong"
	softmax := wrong.Softmax
	wrong.Softmax = func(s []float32, n int, scale float32) { softmax(s, n, scale); s[0] += 1e-3 }
	if _, err := open(file, &wrong); err == nil || !strings.Contains(err.Error(), "compute otherwise") {
		t.Errorf("opened with kernels that are wrong: %v", err)
	}
}
