package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/server"
)

func serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Args:  cobra.NoArgs,
	}
	path := configFlag(c)
	profile := c.Flags().String("cpuprofile", "", "write a CPU profile of the whole run to this file")
	_ = c.Flags().MarkHidden("cpuprofile")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		// The context ends with either signal, and does not say with which.
		end := make(chan os.Signal, 2)
		signal.Notify(end, os.Interrupt, syscall.SIGTERM)
		defer signal.Stop(end)
		if *profile != "" {
			f, err := os.Create(*profile)
			if err != nil {
				return fmt.Errorf("write profile: %w", err)
			}
			defer f.Close()
			if err := pprof.StartCPUProfile(f); err != nil {
				return fmt.Errorf("write profile: %w", err)
			}
			defer pprof.StopCPUProfile()
		}
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		log := server.NewLogger(cfg, os.Stderr)
		s, err := server.Start(context.WithoutCancel(cmd.Context()), cfg, *path, log)
		if err != nil {
			return err
		}
		log.Info("sallyport is serving", "url", s.URL(), "mode", cfg.Inspect.Mode, "record", cfg.Audit.Mode, "data_dir", cfg.DataDir)

		hup := make(chan os.Signal, 1)
		signal.Notify(hup, syscall.SIGHUP)
		defer signal.Stop(hup)
		for {
			select {
			case <-hup:
				_ = s.Reload(context.WithoutCancel(cmd.Context())) // says in the log what happened
			case err := <-s.Done():
				return err
			case <-cmd.Context().Done():
				t := cfg.Proxy.Timeouts
				select {
				case sig := <-end:
					if sig != syscall.SIGTERM { // at a terminal nobody sends the calls elsewhere
						t.Leave = 0
					}
				case <-time.After(time.Second): // it came before we listened
				}
				return drain(s, t, end, log)
			}
		}
	}
	return c
}

// drain tells callers to go elsewhere, then lets the calls in flight end. A second signal ends them at once.
func drain(s *server.Server, t config.Timeouts, again <-chan os.Signal, log *slog.Logger) error {
	now, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-again:
			cancel()
		case <-now.Done():
		}
	}()
	if t.Leave > 0 {
		log.Info("leaving", "for", t.Leave)
		s.Leave(now, t.Leave)
	}
	log.Info("draining", "at_most", t.Drain)
	ctx, stop := context.WithTimeout(now, t.Drain)
	defer stop()
	if err := s.Shutdown(ctx); err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}
