// Package rows reads the texts that the detector is trained and judged on: a JSON object a line,
// .gz or not.
package rows

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"strings"
)

// Row is one text with its label.
type Row struct {
	ID      string `json:"id"`
	Text    string `json:"text"`
	Label   string `json:"label"` // benign, injection, jailbreak, harmful_request
	Channel string `json:"channel"`
	Lang    string `json:"lang"`
	Source  string `json:"source"`
	Family  string `json:"family"`
	Licence string `json:"lic"`
	DevKind string `json:"dev_kind"`
	Carrier string `json:"carrier"` // of model/corpus: the kind of tool result or document
	Span    []int  `json:"span"`    // bytes of the attack within the text, where known
	Pair    string `json:"pair"`    // rows that share it are the same text with and without an attack
	Base    string `json:"base_id"` // the row whose text this one is written from, where known
}

// Attack says whether the row is a positive, and whether it counts at all: a plain harmful request
// is neither.
func (r *Row) Attack() (yes, counts bool) {
	switch r.Label {
	case "injection", "jailbreak":
		return true, true
	case "benign":
		return false, true
	}
	return false, false
}

// Shippable says whether the licence lets the row shape weights that are given away.
func (r *Row) Shippable() bool { return r.Licence == "permissive" || r.Licence == "cc-by-sa" }

// Encoded says whether the text is written so that only its readings show what it says: the text
// as it stands looks the same for an attack and for anything else, so no tier learns attacks from it.
func (r *Row) Encoded() bool {
	switch r.Family {
	case "obf_base64", "obf_hex", "obf_leet", "obf_rot13", "obf_url":
		return true
	}
	return r.Source == "owasp_aitg_encoded"
}

// Held says whether the row is kept from training, for fitting the stack and its calibration: one in
// twelve, all of a pair or none.
func (r *Row) Held() bool {
	key := r.ID
	if r.Pair != "" {
		key = r.Pair
	}
	h := fnv.New64a()
	io.WriteString(h, r.Source+"\x00"+key)
	return h.Sum64()%12 == 0
}

// Each calls f for every row of a file. A row without a source has the file's name for one, and is
// taken as made by our own generators.
func Each(name string, f func(*Row) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	var r io.Reader = file
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(file); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	base := name[strings.LastIndexByte(name, '/')+1:]
	base, _, _ = strings.Cut(base, ".")
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 16<<20)
	for n := 1; sc.Scan(); n++ {
		var row Row
		if err := json.Unmarshal(sc.Bytes(), &row); err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
		if row.Source == "" {
			row.Source, row.Licence = base, "permissive"
		}
		if err := f(&row); err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	return sc.Err()
}
