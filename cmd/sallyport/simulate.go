package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/internal/simulate"
)

func simulateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Run the provider simulator (OpenAI and Anthropic dialects)",
		Long: `Runs a provider that needs no account and no network. What it answers can be steered with the
header X-Simulate, or with [[simulate: ...]] in the last user message: status=429, say=TEXT,
choices=2, tool=NAME, delay=50ms, ... (see the package documentation of internal/simulate).`,
		Args: cobra.NoArgs,
	}
	listen := c.Flags().String("listen", "127.0.0.1:8090", "address to listen on")
	asJSON := c.Flags().Bool("json", false, "print the address as JSON")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		ln, err := net.Listen("tcp", *listen)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		p := new(http.Protocols)
		p.SetHTTP1(true)
		p.SetUnencryptedHTTP2(true)
		srv := &http.Server{Handler: simulate.New(simulate.Options{}), ReadHeaderTimeout: 5 * time.Second, Protocols: p}
		if *asJSON {
			err = printJSON(os.Stdout, map[string]string{"url": "http://" + ln.Addr().String()})
		} else {
			_, err = fmt.Println("simulating a provider at http://" + ln.Addr().String())
		}
		if err != nil {
			return err
		}
		go func() {
			<-cmd.Context().Done()
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			_ = srv.Shutdown(ctx)
			_ = srv.Close()
		}()
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
	return c
}
