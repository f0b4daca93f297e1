// Command gen counts the letters of English text (the comments of the Go tree and any other files
// named) and writes english.bin: for each letter after two others, how much likelier it is than
// chance, in eighths of a bit. Letters are 1..26, everything between words is 0.
//
//	go run ./gen english.bin $(go env GOROOT)/src ../../../docs
package main

import (
	"io/fs"
	"log"
	"math"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	var n [27][27][27]float64
	for _, root := range os.Args[2:] {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			ext := filepath.Ext(path)
			if ext != ".go" && ext != ".md" || strings.Contains(path, "testdata") {
				return nil
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(b)) {
				if ext == ".go" {
					_, comment, ok := strings.Cut(line, "// ")
					if !ok || strings.ContainsAny(comment, "{}=;()/<>[]\\\"_*") {
						continue
					}
					line = comment
				}
				if strings.Count(line, " ") < 6 {
					continue
				}
				p, q := 0, 0
				for _, c := range strings.ToLower(line) + " " {
					x := 0
					if 'a' <= c && c <= 'z' {
						x = int(c-'a') + 1
					}
					if x == 0 && q == 0 {
						continue
					}
					n[p][q][x]++
					p, q = q, x
				}
			}
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	out := make([]byte, 0, 27*27*27)
	for p := range 27 {
		for q := range 27 {
			var sum, two float64
			var after [27]float64
			for x := range 27 {
				sum += n[p][q][x]
				for any := range 27 {
					after[x] += n[any][q][x]
				}
				two += after[x]
			}
			for x := range 27 {
				// Three letters, backed off to two, backed off to chance.
				back := (after[x] + 2) / (two + 54)
				pr := (n[p][q][x] + 20*back) / (sum + 20)
				v := math.Round(8 * (math.Log2(pr) + math.Log2(27)))
				out = append(out, byte(int8(max(-100, min(100, v)))))
			}
		}
	}
	if err := os.WriteFile(os.Args[1], out, 0o644); err != nil {
		log.Fatal(err)
	}
}
