package rows

import "strings"

// Part is what a row is for when weights are trained, or why it is for nothing.
type Part string

// The parts.
const (
	Trained    Part = "tiers learn from it"
	Fitted     Part = "the stack is fitted on it"
	OutNeither Part = "a plain harmful request: neither attack nor benign"
	OutSystem  Part = "the system channel: trusted, never scored"
	OutNew     Part = "a withheld carrier or family"
	OutLicence Part = "its licence does not allow it"
	OutEncoded Part = "an encoded attack: only its readings show what it says"
)

// Part says what the row is for; with shippable, when the weights are to be given away. No row is for
// both the tiers and the stack.
func (r *Row) Part(shippable bool) Part {
	attack, counts := r.Attack()
	kept, _ := r.Withheld()
	switch {
	case !counts:
		return OutNeither
	case r.Channel == "system":
		return OutSystem
	case kept:
		return OutNew
	case shippable && !r.Shippable():
		return OutLicence
	case r.Held():
		return Fitted
	case attack && r.Encoded():
		return OutEncoded
	}
	return Trained
}

// From says whether the row is of one of the sources, or is made of a row of theirs: an obfuscation of
// it, or its request in a frame. Ids begin with their source and a hyphen.
func (r *Row) From(sources []string) bool {
	for _, s := range sources {
		if s != "" && (r.Source == s || strings.HasPrefix(r.Base, s+"-") || strings.HasPrefix(r.ID, "frame-"+s+"-")) {
			return true
		}
	}
	return false
}
