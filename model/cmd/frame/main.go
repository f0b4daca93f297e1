// Command frame dresses rows of users in frames: harmful requests become jailbreaks, harmless ones
// stay harmless. Rows in, rows out, both JSONL.
package main

import (
	"encoding/json"
	"flag"
	"hash/fnv"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"strings"

	"sallyport.dev/sallyport/model/frame"
	"sallyport.dev/sallyport/model/rows"
)

func main() {
	seed := flag.Uint64("seed", 1, "seed")
	harmful := flag.Float64("harmful", 0.7, "share of harmful requests that are dressed")
	benign := flag.Float64("benign", 0.15, "share of harmless ones")
	from := flag.String("benign-from", "", "sources of harmless requests, with commas")
	flag.Parse()
	to := json.NewEncoder(os.Stdout)
	for _, name := range flag.Args() {
		err := rows.Each(name, func(r *rows.Row) error {
			if !r.Shippable() || r.Channel != "user" || len(r.Text) > 400 || len(r.Text) < 12 || r.Lang != "" && r.Lang != "en" {
				return nil
			}
			h := fnv.New64a()
			io.WriteString(h, r.ID+r.Text)
			rnd := rand.New(rand.NewPCG(*seed, h.Sum64()))
			switch {
			case r.Label == "harmful_request" && rnd.Float64() < *harmful:
				r.Label = "jailbreak"
			case r.Label == "benign" && rnd.Float64() < *benign && strings.Contains(","+*from+",", ","+r.Source+","):
			default:
				return nil
			}
			r.ID, r.Family, r.Source, r.Span = "frame-"+r.ID, "frame", "frame_"+r.Label, nil
			r.Text = frame.Dress(rnd, r.Text)
			return to.Encode(r)
		})
		if err != nil {
			log.Fatal(err)
		}
	}
}
