package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/demo"
	"sallyport.dev/sallyport/internal/simulate"
)

// Demo starts a provider simulator and a gateway before it on loopback, makes the demonstration's
// calls, proves the record, and says whether each call went as it should. wait, when set, is called
// while both are still running. Everything is in a temporary directory that is gone afterwards.
func Demo(ctx context.Context, out io.Writer, listen string, wait func()) (ok bool, err error) {
	dir, err := os.MkdirTemp("", "sallyport-demo-")
	if err != nil {
		return false, fmt.Errorf("make demo directory: %w", err)
	}
	defer os.RemoveAll(dir)

	sim := simulate.New(simulate.Options{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return false, fmt.Errorf("listen for simulator: %w", err)
	}
	provider := &http.Server{Handler: sim, ReadHeaderTimeout: 5 * time.Second}
	go provider.Serve(ln)
	defer provider.Close()

	cfg := config.Default()
	cfg.DataDir = filepath.Join(dir, "data")
	cfg.Listen.Address = demoAddress(listen)
	cfg.Watch.Log.Level = "error"
	cfg.Proxy.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for i := range cfg.Proxy.Upstreams {
		cfg.Proxy.Upstreams[i].BaseURL = "http://" + ln.Addr().String()
	}
	s, err := Start(ctx, cfg, "", slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		return false, err
	}
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = s.Shutdown(ctx)
	}
	defer stop()

	fmt.Fprintf(out, "A simulated provider answers at http://%s, Sallyport stands before it at %s.\n\n", ln.Addr(), s.URL())
	ok, err = demo.Run(ctx, &http.Client{Timeout: 30 * time.Second}, s.URL(), sim.Seen, out)
	if err != nil {
		return false, err
	}
	r, err := VerifyAudit(AuditDir(cfg), "", "")
	if err != nil {
		return false, err
	}
	fmt.Fprintf(out, "\nThe record: %d calls in %d chained records, whole: %v.\n", r.Calls, r.Records, r.OK)
	ok = ok && r.OK
	if wait != nil {
		if err := demo.Try(s.URL(), out); err != nil {
			return ok, err
		}
		wait()
	}
	return ok, nil
}

// demoAddress is the address asked for; when that is taken, any free port.
func demoAddress(listen string) string {
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return "127.0.0.1:0"
	}
	_ = ln.Close()
	return listen
}
