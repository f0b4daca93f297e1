package corpus

import (
	"fmt"
	"strconv"
	"strings"
)

// A record is a tool's result with fields, written in one of several styles (render.go). Its file:
//
//	@rec name group     begins one
//	task: a | b         what a user may have asked
//	root: a | b         keys under which the items may stand
//	n: 1-4              how many items
//	key: grammar        a string     key*:  a free text, in which a payload may stand
//	key#: grammar       a number     key?:  true or false     a.b: nested     key[]: list, parts by ;
type record struct {
	name, group string
	tasks, root []node
	least, most int
	fields      []recordField
}

type recordField struct {
	path  []string
	form  byte // 0, '*', '#', '?', '['
	value node
}

func loadRecords(dir string) []*record {
	var out []*record
	read(dir, func(name, src string) error {
		for i, line := range strings.Split(src, "\n") {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "%% ") {
				continue
			}
			if words := strings.Fields(line); words[0] == "@rec" {
				out = append(out, &record{name: words[1], group: words[2], least: 1, most: 3})
				continue
			}
			if err := out[len(out)-1].add(line); err != nil {
				return fmt.Errorf("%s:%d: %w", name, i+1, err)
			}
		}
		return nil
	})
	return out
}

func (r *record) add(line string) error {
	key, text, ok := strings.Cut(line, ": ")
	if !ok {
		return fmt.Errorf("%q has no value", line)
	}
	list := func() (out []node, err error) {
		for s := range strings.SplitSeq(text, " | ") {
			n, err := parse(strings.TrimSpace(s))
			if err != nil {
				return nil, err
			}
			out = append(out, n)
		}
		return out, nil
	}
	var err error
	switch key {
	case "task":
		r.tasks, err = list()
		return err
	case "root":
		r.root, err = list()
		return err
	case "n":
		lo, hi, _ := strings.Cut(text, "-")
		r.least, _ = strconv.Atoi(lo)
		r.most, err = strconv.Atoi(hi)
		return err
	}
	f := recordField{}
	if strings.HasSuffix(key, "[]") {
		f.form, key = '[', key[:len(key)-2]
	} else if last := key[len(key)-1]; strings.IndexByte("*#?", last) >= 0 {
		f.form, key = last, key[:len(key)-1]
	}
	f.path = strings.Split(key, ".")
	f.value, err = parse(text)
	r.fields = append(r.fields, f)
	return err
}

// value is a tree in the order of its keys: an object, a list or a leaf.
type value struct {
	keys  []string // of an object
	kids  []*value
	list  bool
	text  string
	raw   bool // a number or a truth value
	prose bool // may hold a payload
}

func (v *value) at(path []string) *value {
	for _, key := range path {
		found := (*value)(nil)
		for i, k := range v.keys {
			if k == key {
				found = v.kids[i]
			}
		}
		if found == nil {
			found = &value{}
			v.keys, v.kids = append(v.keys, key), append(v.kids, found)
		}
		v = found
	}
	return v
}

// build draws a record's tree. Free texts are in the row's language where there is one.
func (r *record) build(e *expander, foreign bool) *value {
	items := &value{list: true}
	n := r.least + e.IntN(r.most-r.least+1)
	for range n {
		item := &value{}
		for _, f := range r.fields {
			if f.form != '*' && len(r.fields) > 5 && e.oneIn(7) {
				continue // not every tool gives every field
			}
			leaf := item.at(f.path)
			text := strings.TrimSpace(e.node(f.value))
			switch f.form {
			case '[':
				leaf.list = true
				for part := range strings.SplitSeq(text, ";") {
					leaf.kids = append(leaf.kids, &value{text: strings.TrimSpace(part)})
				}
				continue
			case '#', '?':
				leaf.raw = true
			case '*':
				leaf.prose = true
				if foreign {
					text = e.rule("s.any")
				}
			}
			leaf.text = text
		}
		items.kids = append(items.kids, item)
	}
	var top *value
	switch {
	case n == 1 && !e.oneIn(3):
		top = items.kids[0]
	default:
		top = items
	}
	if len(r.root) > 0 && !e.oneIn(3) {
		root := e.node(r.root[e.IntN(len(r.root))])
		v := &value{}
		if e.oneIn(4) {
			*v.at([]string{e.of("status", "ok", "success", "state")}) = value{text: e.of("ok", "success", "completed", "200"), raw: false}
		}
		*v.at([]string{root}) = *top
		if e.oneIn(5) {
			*v.at([]string{e.of("total", "count", "page", "num_results")}) = value{text: fmt.Sprint(n), raw: true}
		}
		top = v
	}
	return top
}

// prose lists the leaves that may hold a payload, and objects the inner objects.
func (v *value) prosaic(leaves, objects *[]*value) {
	if v.prose {
		*leaves = append(*leaves, v)
	}
	if len(v.keys) > 0 {
		*objects = append(*objects, v)
	}
	for _, k := range v.kids {
		k.prosaic(leaves, objects)
	}
}
