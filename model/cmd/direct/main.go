// Command direct writes generated texts of the user's channel as JSONL on stdout.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"

	"sallyport.dev/sallyport/model/direct"
)

func main() {
	seed := flag.Uint64("seed", 1, "seed")
	n := flag.Int("n", 20000, "rows")
	only := flag.String("family", "", "only these families, comma-separated")
	without := flag.String("without-family", "", "leave these families out, comma-separated")
	lang := flag.String("lang", "", "only these languages, comma-separated")
	withoutLang := flag.String("without-lang", "", "leave these languages out, comma-separated")
	list := flag.Bool("list", false, "list the families and end")
	flag.Parse()
	w := bufio.NewWriterSize(os.Stdout, 1<<20)
	if *list {
		for _, f := range direct.Families() {
			fmt.Fprintf(w, "%s\t%s\t%s\n", f.Name, f.Label, strings.Join(f.Langs, ","))
		}
	} else {
		to := json.NewEncoder(w)
		to.SetEscapeHTML(false)
		o := direct.Options{Families: split(*only), WithoutFamilies: split(*without), Langs: split(*lang), WithoutLangs: split(*withoutLang)}
		for r := range direct.Generate(*seed, *n, o) {
			if err := to.Encode(r); err != nil {
				log.Fatal(err)
			}
		}
	}
	if err := w.Flush(); err != nil {
		log.Fatal(err)
	}
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}
