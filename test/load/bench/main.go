// Command bench measures what Sallyport costs: in one run, on one machine, beside the same calls
// made directly, through nginx and through a bare httputil.ReverseProxy. Client, gateways and
// provider are processes of their own. Every request has a prompt that no other had, every answer
// is compared with what the provider sent, and one failed request makes the run invalid.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"sallyport.dev/sallyport/test/load/live"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "upstream", "reverseproxy":
			exit(role(os.Args[1], os.Args[2:]))
		}
	}
	exit(run())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func role(name string, args []string) error {
	f := flag.NewFlagSet(name, flag.ExitOnError)
	listen := f.String("listen", "127.0.0.1:0", "")
	to := f.String("to", "", "")
	interval := f.Duration("interval", time.Second, "")
	_ = f.Parse(args)
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	if name == "upstream" {
		return upstream(l, *interval)
	}
	return reverseProxy(l, *to)
}

func run() error {
	s := settings{only: map[string]bool{}}
	flag.StringVar(&s.sallyport, "sallyport", "", "the binary to measure; built when empty")
	flag.IntVar(&s.repetitions, "repetitions", 3, "how often everything is measured")
	flag.DurationVar(&s.duration, "duration", 3*time.Second, "of one throughput measurement")
	flag.IntVar(&s.calls, "calls", 1500, "calls per target and repetition at c=1")
	flag.IntVar(&s.clients, "clients", 32, "calls in flight for throughput")
	flag.IntVar(&s.streams, "streams", 1000, "open streams; 0 leaves this part out")
	flag.IntVar(&s.firsts, "firsts", 300, "short streams measured while they are open")
	flag.DurationVar(&s.interval, "interval", 2*time.Second, "between two events of an open stream")
	only := flag.String("only", "", "comma-separated targets beside direct: nginx, reverseproxy, "+strings.Join(gateways, ", "))
	asJSON := flag.Bool("json", false, "print JSON")
	strict := flag.Bool("strict", false, "exit with 1 when a goal is missed")
	flag.Parse()
	for n := range strings.SplitSeq(*only, ",") {
		if n = strings.TrimSpace(n); n != "" {
			s.only[n] = true
		}
	}
	var err error
	if s.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return err
	}
	defer os.RemoveAll(s.dir)
	if err := os.Chmod(s.dir, 0o755); err != nil { //nolint:gosec // nginx's workers run as another user
		return err
	}
	if s.sallyport == "" && slices.ContainsFunc(gateways, s.wants) {
		if s.sallyport, err = live.Build(s.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	ts, skipped, err := targets(&s)
	if err != nil {
		return err
	}
	defer stopAll(ts)
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		stopAll(ts)
		os.RemoveAll(s.dir)
		os.Exit(130)
	}()

	rep := report{Clients: s.clients, Streams: s.streams, Repetitions: s.repetitions, Skipped: skipped,
		Machine: fmt.Sprintf("%d CPUs, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())}
	measure(&s, ts, &rep)
	rep.judge()
	if *asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		err = e.Encode(&rep)
	} else {
		rep.print(os.Stdout)
	}
	if err != nil {
		return err
	}
	if !rep.Valid {
		return fmt.Errorf("the run is invalid: requests failed")
	}
	for _, g := range rep.Goals {
		if *strict && !g.Met {
			return fmt.Errorf("goal missed: %s", g.Name)
		}
	}
	return nil
}

func measure(s *settings, ts []*target, rep *report) {
	time.Sleep(time.Second) // at rest
	for _, t := range ts {
		r := row{Name: t.name}
		if t.pid != 0 {
			r.RSSRest = rssOf(t)
		}
		rep.Rows = append(rep.Rows, r)
	}
	for n := range s.repetitions {
		out := make([]*sample, len(ts))
		for i := range out {
			out[i] = &sample{}
		}
		say("repetition %d of %d: latency", n+1, s.repetitions)
		latency(ts, out, s.calls)
		for k := range ts {
			i := (k + n) % len(ts) // nobody is always first
			say("repetition %d of %d: throughput of %s", n+1, s.repetitions, ts[i].name)
			throughput(ts[i], out[i], s.clients, s.duration)
		}
		for k := range ts {
			i := (k + n) % len(ts)
			if s.streams > 0 && ts[i].pid != 0 {
				say("repetition %d of %d: streams of %s", n+1, s.repetitions, ts[i].name)
				streams(ts[0], ts[i], out[i], rep.Rows[i].RSSRest, s.streams, s.firsts, s.interval)
			}
		}
		for i := range ts {
			rep.Rows[i].Samples = append(rep.Rows[i].Samples, *out[i])
		}
	}
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
