// Command detect prints how long the detector takes over texts it has not seen, on one core, beside
// the plain Go path of the encoder where one ships:
//
//	go run ./test/load/detect [--binary bin/sallyport]
//
// It times the calls themselves, in process: no network, no cache. Every text is new.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/gate"
	"sallyport.dev/sallyport/internal/inspect/classify"
	"sallyport.dev/sallyport/internal/inspect/classify/builtin"
	"sallyport.dev/sallyport/internal/inspect/lexical"
	"sallyport.dev/sallyport/internal/inspect/readings"
	"sallyport.dev/sallyport/internal/inspect/rules"
	"sallyport.dev/sallyport/internal/nn"
)

func main() {
	binary := flag.String("binary", "", "a built sallyport, whose size is told")
	path := flag.String("path", "", "measure on this path of the encoder only")
	n := flag.Int("n", 1500, "texts of a measurement")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	if *path == "" {
		if err := all(*n, *binary); err != nil {
			fmt.Fprintln(os.Stderr, "detect:", err)
			os.Exit(1)
		}
		return
	}
	measure(*path, *n)
}

// all runs a process for every path of the encoder, so that each starts cold and alone.
func all(n int, binary string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	fmt.Printf("one core of %s/%s, %d distinct texts a line\n\n", runtime.GOOS, runtime.GOARCH, n)
	for _, p := range nn.Paths() {
		cmd := exec.Command(self, "--path", p, "--n", fmt.Sprint(n))
		cmd.Env = append(os.Environ(), "SALLYPORT_NN="+p)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return err
		}
	}
	if binary != "" {
		st, err := os.Stat(binary)
		if err != nil {
			return err
		}
		fmt.Printf("%s: %.1f MB\n", binary, float64(st.Size())/1e6)
	}
	return nil
}

func measure(path string, n int) {
	before := heap()
	o, err := builtin.Options()
	check(err)
	o.Rules, err = rules.Default()
	check(err)
	encoder := o.Encoder != nil
	c := classify.New(o, 1)
	c.Detect(segment("warm up")) // what is made at the first use
	resident := heap() - before
	o.Encoder = nil
	plain := classify.New(o, 1)

	rnd := rand.New(rand.NewPCG(1, 2))
	if path == nn.Paths()[0] {
		kb := texts(rnd, n, 1024)
		reader := lexical.NewReader(o.Lexical)
		fmt.Println("part                                  p50        p99   per KB of new prose")
		line("readings", kb, func(t string) { readings.Of(t, readings.Limits{}) })
		line("rules", kb, func(t string) { o.Rules.Detect(segment(t)) })
		line("lexical", kb, func(t string) { reader.Read([]byte(t), lexical.Caller) })
		line("readings + rules + lexical + stack", kb, func(t string) { plain.Detect(segment(t)) })
		fmt.Println()
	}
	if !encoder {
		fmt.Printf("the built-in weights have no encoder; detector in memory: %.1f MB\n\n", mb(resident))
		return
	}
	fmt.Printf("encoder on %s; detector in memory: %.1f MB\n", path, mb(resident))
	line("whole cascade, 100 tokens (420 bytes)", texts(rnd, n, 420), func(t string) { c.Detect(segment(t)) })
	line("whole cascade, 1 KB", texts(rnd, n/2, 1024), func(t string) { c.Detect(segment(t)) })
	line("whole cascade, 8 KB", texts(rnd, n/4, 8192), func(t string) { c.Detect(segment(t)) })
	fmt.Println()
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "detect:", err)
		os.Exit(1)
	}
}

func segment(t string) *gate.Segment {
	return &gate.Segment{Channel: gate.ChannelUser, Text: []byte(t), Turn: -1}
}

func heap() uint64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func mb(n uint64) float64 { return float64(n) / 1e6 }

// line times f over texts and prints the middle and the worst but one in a hundred.
func line(name string, texts []string, f func(string)) {
	took := make([]time.Duration, 0, len(texts))
	for _, t := range texts {
		at := time.Now()
		f(t)
		took = append(took, time.Since(at))
	}
	slices.Sort(took)
	us := func(q float64) float64 {
		return float64(took[min(len(took)-1, int(q*float64(len(took))))].Nanoseconds()) / 1e3
	}
	fmt.Printf("%-38s%8.1f us%9.1f us\n", name, us(0.5), us(0.99))
}

var words = strings.Fields(`the of and a to in is you that it he was for on are as with his they at be this have from
or one had by word but not what all were we when your can said there use an each which she do how their if will up other
about out many then them these so some her would make like him into time has look two more write go see number no way could
people my than first water been call who oil its now find long down day did get come made may part report meeting budget
customer invoice server deploy function variable install network garden recipe train holiday museum painting river mountain
question answer explain summarise translate compare list describe between because however although during without through
quarterly analysis temperature schedule contract delivery insurance battery keyboard language history science`)

// texts makes n different texts of about so many bytes, of common words in sentences.
func texts(rnd *rand.Rand, n, bytes int) []string {
	out := make([]string, n)
	for i := range out {
		var b strings.Builder
		for left := 0; b.Len() < bytes; left-- {
			if left <= 0 {
				if b.Len() > 0 {
					b.WriteString(". ")
				}
				left = 6 + rnd.IntN(12)
				w := words[rnd.IntN(len(words))]
				b.WriteString(strings.ToUpper(w[:1]) + w[1:])
				continue
			}
			if rnd.IntN(14) == 0 {
				fmt.Fprintf(&b, " %d", rnd.IntN(5000))
				continue
			}
			b.WriteString(" " + words[rnd.IntN(len(words))])
		}
		out[i] = b.String() + "."
	}
	return out
}
