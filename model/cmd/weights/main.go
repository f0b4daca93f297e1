// Command weights packs a trained network (safetensors on stdin) into int8 (stdout).
package main

import (
	"log"
	"os"

	"sallyport.dev/sallyport/internal/nn"
)

func main() {
	packed, err := nn.Convert(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := os.Stdout.Write(packed); err != nil {
		log.Fatal(err)
	}
}
