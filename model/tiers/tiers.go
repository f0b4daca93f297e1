// Package tiers opens a directory of weights as the classifier of the product, for fitting and judging.
package tiers

import (
	"os"
	"runtime"

	"sallyport.dev/sallyport/internal/inspect/classify"
	"sallyport.dev/sallyport/internal/inspect/rules"
)

// Open returns the classifier of dir; with bare, one without a stack.
func Open(dir string, bare bool) (*classify.Classifier, error) {
	o, err := classify.Open(os.DirFS(dir), bare)
	if err != nil {
		return nil, err
	}
	if o.Rules, err = rules.Default(); err != nil {
		return nil, err
	}
	return classify.New(o, runtime.NumCPU()), nil
}
