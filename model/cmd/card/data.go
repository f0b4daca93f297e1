package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sallyport.dev/sallyport/model/rows"
)

// made are the files of rows that model/train.sh writes, and what they are.
var made = []struct{ file, what string }{
	{"direct.jsonl", "our generator of texts of users (model/direct)"},
	{"frame.jsonl", "harmful requests of the sources above in our frames (model/frame)"},
	{"indirect.jsonl", "our generator of documents and tool results, with and without payloads (model/corpus)"},
	{"rest.jsonl", "documents of the sources above, cut free of their payload (model/cmd/rest)"},
	{"hide.jsonl", "benign rows of all these, written as attackers write (internal/evade)"},
}

// tally counts the rows of one source and licence by what they are for.
type tally struct {
	source, licence string
	of              map[rows.Part]int
	trained, fitted [2]int // benign, attacks
}

func (t *tally) add(r *rows.Row) {
	p := r.Part(true)
	t.of[p]++
	side := 0
	if attack, _ := r.Attack(); attack {
		side = 1
	}
	switch p {
	case rows.Trained:
		t.trained[side]++
	case rows.Fitted:
		t.fitted[side]++
	}
}

func (t *tally) shapes() int { return t.of[rows.Trained] + t.of[rows.Fitted] }

// sources counts what shapes the weights, and what is left out and why.
func (c *card) sources(context.Context) error {
	byName := map[string]*tally{}
	err := rows.Each(c.train(), func(r *rows.Row) error {
		k := r.Source + "\x00" + r.Licence
		if byName[k] == nil {
			byName[k] = &tally{source: r.Source, licence: r.Licence, of: map[rows.Part]int{}}
		}
		byName[k].add(r)
		return nil
	})
	if err != nil {
		return err
	}
	licences, err := licenceNames(filepath.Join(c.data, "README.md"))
	if err != nil {
		return err
	}
	c.line("Only rows whose licence is permissive or CC BY-SA shape weights. Tiers learn from most of them; one in twelve, whole pairs")
	c.line("together, is kept from the tiers, and the stack and its calibration are fitted on it. No development row shapes anything.\n")
	head := []string{"source", "class", "licence", "tiers: attacks", "benign", "stack: attacks", "benign"}
	var table [][]string
	sum := &tally{of: map[rows.Part]int{}}
	cells := func(name, class, licence string, t *tally) []string {
		return []string{name, class, licence, fmt.Sprint(t.trained[1]), fmt.Sprint(t.trained[0]), fmt.Sprint(t.fitted[1]), fmt.Sprint(t.fitted[0])}
	}
	total := func(t *tally) {
		for i := range 2 {
			sum.trained[i] += t.trained[i]
			sum.fitted[i] += t.fitted[i]
		}
	}
	for _, k := range slices.Sorted(maps.Keys(byName)) {
		if t := byName[k]; t.shapes() > 0 {
			name := "–"
			if l := licences[t.source]; l != "" {
				name = cell(l)
			}
			table = append(table, cells(cell(t.source), cell(t.licence), name, t))
			total(t)
		}
	}
	for _, m := range made {
		t := &tally{of: map[rows.Part]int{}}
		if err := rows.Each(filepath.Join(c.work, m.file), func(r *rows.Row) error { t.add(r); return nil }); err != nil {
			return err
		}
		table = append(table, cells("*"+m.what+"*", "ours", "as the row it is made of; Apache-2.0", t))
		total(t)
	}
	c.table(head, append(table, cells("**all**", "", "", sum)))

	c.line("### Left out\n")
	table = nil
	for _, why := range []rows.Part{rows.OutLicence, rows.OutSystem, rows.OutNeither, rows.OutEncoded, rows.OutNew} {
		n, of := 0, []string{}
		for _, k := range slices.Sorted(maps.Keys(byName)) {
			t := byName[k]
			if m := t.of[why]; m > 0 {
				n += m
				s := fmt.Sprintf("%s %d", cell(t.source), m)
				if why == rows.OutLicence {
					s = fmt.Sprintf("%s %d (%s)", cell(t.source), m, cell(t.licence))
				}
				of = append(of, s)
			}
		}
		if n > 0 {
			table = append(table, []string{string(why), fmt.Sprint(n), strings.Join(of, ", ")})
		}
	}
	c.table([]string{"why", "rows", "of the training rows"}, table)
	return nil
}

// licenceNames reads the table of a README that names each source's licence. Without one, or without
// such a table, there are no names, and the class alone is given.
func licenceNames(name string) (map[string]string, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := map[string]string{}
	source, licence := -1, -1
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		if !strings.HasPrefix(sc.Text(), "|") {
			source = -1
			continue
		}
		cells := strings.Split(sc.Text(), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if s, l := slices.Index(cells, "source"), slices.Index(cells, "licence"); s >= 0 && l >= 0 {
			source, licence = s, l
		} else if source >= 0 && max(source, licence) < len(cells) {
			out[cells[source]] = cells[licence]
		}
	}
	return out, sc.Err()
}
