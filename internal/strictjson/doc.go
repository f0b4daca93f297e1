package strictjson

import "iter"

// Root is the index of the whole value.
const Root = 0

// Get finds the member name of the object at node at, or -1.
func (d *Doc) Get(at int, name string) int {
	if at < 0 || d.Nodes[at].Kind != Object {
		return -1
	}
	for i := range d.Children(at) {
		if d.IsKey(i, name) {
			return i
		}
	}
	return -1
}

// Children are the indexes of an array's elements or an object's members, in order.
func (d *Doc) Children(at int) iter.Seq[int] {
	return func(yield func(int) bool) {
		if at < 0 || d.Nodes[at].Kind < Array {
			return
		}
		for i := at + 1; i < int(d.Nodes[at].Next); i = int(d.Nodes[i].Next) {
			if !yield(i) {
				return
			}
		}
	}
}

// IsKey says whether the member at node i has this name.
func (d *Doc) IsKey(i int, name string) bool {
	n := &d.Nodes[i]
	if n.KeyAt < 0 {
		return false
	}
	if !n.KeyEsc {
		return string(d.Raw[n.KeyAt:n.KeyEnd]) == name
	}
	return string(Unescape(nil, d.Raw[n.KeyAt:n.KeyEnd])) == name
}

// Key is the member's name, decoded; empty for what is not a member. It may alias Raw.
func (d *Doc) Key(i int) []byte {
	n := &d.Nodes[i]
	if n.KeyAt < 0 {
		return nil
	}
	k := d.Raw[n.KeyAt:n.KeyEnd]
	if n.KeyEsc {
		return Unescape(nil, k)
	}
	return k
}

// Inside is where a string's text stands in Raw: between the quotes.
func (d *Doc) Inside(i int) (start, end int) {
	return int(d.Nodes[i].Start) + 1, int(d.Nodes[i].End) - 1
}

// Parent is the container of the value at node i, -1 for the root.
func (d *Doc) Parent(i int) int { return int(d.Nodes[i].Parent) }

// Text is a string's decoded text, nil for what is no string. It aliases Raw where nothing is escaped.
func (d *Doc) Text(i int) []byte {
	if i < 0 || d.Nodes[i].Kind != String {
		return nil
	}
	s := d.Raw[d.Nodes[i].Start+1 : d.Nodes[i].End-1]
	if d.Nodes[i].Escaped {
		return Unescape(make([]byte, 0, len(s)), s)
	}
	return s
}

// Str is Text as a string.
func (d *Doc) Str(i int) string { return string(d.Text(i)) }

// Kind is the kind of the value at node i; Null for -1.
func (d *Doc) Kind(i int) Kind {
	if i < 0 {
		return Null
	}
	return d.Nodes[i].Kind
}

// Value is the value's own bytes.
func (d *Doc) Value(i int) []byte { return d.Raw[d.Nodes[i].Start:d.Nodes[i].End] }
