// Command corpus writes generated tool results and documents, with and without payloads, as JSONL on
// stdout: corpus indirect --seed 1 --n 20000 > out.jsonl; corpus list names carriers and families.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"

	"sallyport.dev/sallyport/model/corpus"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: corpus indirect [flags] | corpus list")
	}
	f := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	seed := f.Uint64("seed", 1, "seed")
	n := f.Int("n", 20000, "rows")
	var o corpus.Options
	for _, l := range []struct {
		name, what string
		to         *[]string
	}{
		{"carrier", "only this carrier", &o.Carriers}, {"without-carrier", "leave this carrier out", &o.WithoutCarriers},
		{"family", "only this family", &o.Families}, {"without-family", "leave this family out", &o.WithoutFamilies},
		{"lang", "only this language", &o.Langs}, {"without-lang", "leave this language out", &o.WithoutLangs},
	} {
		f.Func(l.name, l.what+" (several with commas, or given again)", func(s string) error {
			*l.to = append(*l.to, strings.Split(s, ",")...)
			return nil
		})
	}
	f.Parse(os.Args[2:])
	w := bufio.NewWriterSize(os.Stdout, 1<<20)
	switch os.Args[1] {
	case "indirect":
		to := json.NewEncoder(w)
		to.SetEscapeHTML(false)
		for r := range corpus.Generate(*seed, *n, o) {
			if err := to.Encode(r); err != nil {
				log.Fatal(err)
			}
		}
	case "list":
		fmt.Fprintln(w, "carriers", strings.Join(corpus.Carriers(), " "))
		fmt.Fprintln(w, "families", strings.Join(corpus.Families(), " "))
		fmt.Fprintln(w, "languages", strings.Join(corpus.Langs(), " "))
	default:
		log.Fatalf("corpus: no kind %q", os.Args[1])
	}
	if err := w.Flush(); err != nil {
		log.Fatal(err)
	}
}
