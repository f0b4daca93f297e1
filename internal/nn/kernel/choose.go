package kernel

import (
	"fmt"
	"slices"
	"strings"
)

// Plain names the set that every machine can run.
const Plain = "go"

// Available names the sets that this machine can run, best first. The last is always "go".
func Available() []string {
	var names []string
	for _, s := range sets() {
		names = append(names, s.Name)
	}
	return names
}

// Choose gives the set of that name, or the best one for an empty name. A set that this machine
// cannot run is an error, never silently another one.
func Choose(name string) (*Set, error) {
	all := sets()
	if name == "" {
		return all[0], nil
	}
	if i := slices.IndexFunc(all, func(s *Set) bool { return s.Name == name }); i >= 0 {
		return all[i], nil
	}
	return nil, fmt.Errorf("nn: kernels %q are not available on this machine, which has %s", name, strings.Join(Available(), ", "))
}
