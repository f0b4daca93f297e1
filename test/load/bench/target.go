package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sallyport.dev/sallyport/test/load/live"
)

// target is one way to the provider.
type target struct {
	name string
	addr string
	pid  int // 0: no process of its own
	stop func()
}

// settings are what a run is made with.
type settings struct {
	sallyport   string
	dir         string
	only        map[string]bool
	repetitions int
	duration    time.Duration
	calls       int
	clients     int
	streams     int
	firsts      int
	interval    time.Duration
}

func (s *settings) wants(name string) bool { return len(s.only) == 0 || s.only[name] }

// self starts another role of this program.
func self(role string, args ...string) (*live.Process, string, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	addr, err := live.FreeAddr()
	if err != nil {
		return nil, "", err
	}
	p, err := live.Run(exec.Command(exe, append([]string{role, "--listen", addr}, args...)...))
	if err != nil {
		return nil, "", err
	}
	return p, addr, ready(p, addr)
}

func ready(p *live.Process, addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return p.Ready(ctx, addr)
}

// targets starts the provider and everything that stands before it. skipped says what is not there
// and why.
func targets(s *settings) (ts []*target, skipped []string, err error) {
	defer func() {
		if err != nil {
			stopAll(ts)
		}
	}()
	up, upAddr, err := self("upstream", "--interval", s.interval.String())
	if err != nil {
		return nil, nil, fmt.Errorf("start the provider: %w", err)
	}
	ts = append(ts, &target{name: "direct", addr: upAddr, stop: up.Kill})
	origin := "http://" + upAddr
	skip := func(name, why string) { skipped = append(skipped, name+": "+why) }

	if s.wants("nginx") {
		switch t, err := startNginx(s.dir, origin); {
		case errors.Is(err, exec.ErrNotFound):
			skip("nginx", "not installed")
		case err != nil:
			return ts, nil, err
		default:
			ts = append(ts, t)
		}
	}
	if s.wants("reverseproxy") {
		p, addr, err := self("reverseproxy", "--to", origin)
		if err != nil {
			return ts, nil, fmt.Errorf("start reverseproxy: %w", err)
		}
		ts = append(ts, &target{"reverseproxy", addr, p.PID(), p.Kill})
	}
	for _, name := range gateways {
		if !s.wants(name) {
			continue
		}
		if s.sallyport == "" {
			skip(name, "the binary does not build")
			continue
		}
		t, err := startSallyport(s, name, origin)
		if err != nil {
			return ts, nil, fmt.Errorf("start %s: %w", name, err)
		}
		ts = append(ts, t)
	}
	return ts, skipped, nil
}

func stopAll(ts []*target) {
	for i := len(ts) - 1; i >= 0; i-- {
		ts[i].stop()
	}
}

func startNginx(dir, origin string) (*target, error) {
	bin, err := exec.LookPath("nginx")
	if err != nil {
		if bin, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			return nil, exec.ErrNotFound
		}
	}
	addr, err := live.FreeAddr()
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "nginx")
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the workers run as another user
		return nil, err
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, []byte(nginxConfig(dir, addr, origin)), 0o600); err != nil {
		return nil, err
	}
	p, err := live.Run(exec.Command(bin, "-p", dir, "-c", conf, "-e", filepath.Join(dir, "start.log")))
	if err != nil {
		return nil, err
	}
	if err := ready(p, addr); err != nil {
		return nil, fmt.Errorf("nginx: %w", err)
	}
	return &target{"nginx", addr, p.PID(), func() { _ = p.Stop(3 * time.Second) }}, nil
}

// The gateways that are measured. Rules: what the goals are for; learned: with the detector's learned tiers too,
// as they are by default.
const (
	durableRules   = "sallyport durable"
	effortRules    = "sallyport best_effort"
	durableLearned = "sallyport learned"
)

var gateways = []string{durableRules, effortRules, durableLearned}

func startSallyport(s *settings, name, origin string) (*target, error) {
	mode := "durable"
	if name == effortRules {
		mode = "best_effort"
	}
	dir := filepath.Join(s.dir, strings.ReplaceAll(name, " ", "-"))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// One credential makes all calls, so its share of the limits is the whole.
	g := live.Gateway{Bin: s.sallyport, Dir: dir, Upstream: origin, Audit: mode,
		Proxy: "  limits: {per_key: 4096}\n", More: fmt.Sprintf("watch: {log: {level: warn}}\ninspect: {learned: %t}\n", name == durableLearned)}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	p, err := g.Start(ctx)
	if err != nil {
		return nil, err
	}
	return &target{name, g.Address, p.PID(), func() { _ = p.Stop(5 * time.Second) }}, nil
}
