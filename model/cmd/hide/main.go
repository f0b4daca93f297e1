// Command hide writes benign texts the way attackers hide theirs, still benign: that a text is encoded
// is no attack (the readings show the tiers what it says). A row is kept from training exactly when the
// row it is made of is.
//
//	hide -every 12 ROWS... > hide.jsonl
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"log"
	"math/rand/v2"
	"os"

	"sallyport.dev/sallyport/internal/evade"
	"sallyport.dev/sallyport/model/rows"
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
	every := flag.Int("every", 12, "one benign row in so many")
	longest := flag.Int("longest", 1500, "bytes of the longest row")
	seed := flag.Uint64("seed", 1, "seed")
	flag.Parse()
	w := bufio.NewWriter(os.Stdout)
	defer w.Flush()
	to := json.NewEncoder(w)
	to.SetEscapeHTML(false)
	rnd := rand.New(rand.NewPCG(*seed, 2))
	transforms := append(evade.All(), evade.Lookalikes()...)
	for _, name := range flag.Args() {
		err := rows.Each(name, func(r *rows.Row) error {
			kept, _ := r.Withheld()
			if r.Label != "benign" || r.Channel == "system" || kept || r.Encoded() || !r.Shippable() || len(r.Text) > *longest || rnd.IntN(*every) != 0 {
				return nil
			}
			t := transforms[rnd.IntN(len(transforms))]
			pair := r.Pair
			if pair == "" {
				pair = r.ID
			}
			return to.Encode(out{r.ID + "-" + t.Name, t.Apply(r.Text, rnd.Uint64()), "benign", r.Channel, r.Lang, r.Source, "hidden:" + t.Name, r.Licence, pair})
		})
		if err != nil {
			log.Fatal(err)
		}
	}
}
