// Command rest writes what documents with an injection are without it: the far end of a text whose
// payload stands at its beginning or its end, as a benign row. Without such rows a model learns that
// the carriers of a set are attacks. A row is kept from training exactly when the row it is cut from is.
//
//	rest TRAIN > rest.jsonl
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"
	"strings"
	"unicode/utf8"

	"sallyport.dev/sallyport/model/rows"
)

const (
	payload = 320 // bytes that a payload and its trigger may take
	least   = 70  // bytes worth a row
)

type out struct {
	ID      string `json:"id"`
	Text    string `json:"text"`
	Label   string `json:"label"`
	Channel string `json:"channel"`
	Lang    string `json:"lang"`
	Source  string `json:"source"`
	Family  string `json:"family"`
	Licence string `json:"lic"`
	Pair    string `json:"pair"`
}

func main() {
	w := bufio.NewWriter(os.Stdout)
	defer w.Flush()
	to := json.NewEncoder(w)
	to.SetEscapeHTML(false)
	for _, name := range os.Args[1:] {
		err := rows.Each(name, func(r *rows.Row) error {
			var rest string
			switch r.Family {
			case "tasktracker_start":
				rest = tail(r.Text)
			case "tasktracker_end":
				rest = head(r.Text)
			}
			if len(rest) < least {
				return nil
			}
			return to.Encode(out{r.ID + "-rest", rest, "benign", r.Channel, r.Lang, r.Source, "carrier", r.Licence, r.ID})
		})
		if err != nil {
			log.Fatal(err)
		}
	}
}

// head is the whole sentences of text that end before a payload at its end can begin.
func head(text string) string {
	if len(text) <= payload {
		return ""
	}
	text = text[:len(text)-payload]
	return text[:max(strings.LastIndexAny(text, ".!?\n"), -1)+1]
}

// tail is the whole sentences of text that begin after a payload at its beginning can end.
func tail(text string) string {
	if len(text) <= payload {
		return ""
	}
	text = text[payload:]
	i := strings.IndexAny(text, ".!?\n")
	if i < 0 {
		return ""
	}
	text = strings.TrimLeft(text[i+1:], "\"') \n")
	if !utf8.ValidString(text) {
		return ""
	}
	return text
}
