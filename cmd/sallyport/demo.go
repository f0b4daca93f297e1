package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/internal/server"
)

func demoCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "demo",
		Short: "See it work: a simulated provider, the gateway, benign and hostile calls",
		Long: `Starts a provider simulator and the gateway before it on loopback, sends benign and hostile calls
through them, and prints what happened to each and why. Needs no account and no network. The gateway
then keeps running for your own calls until you press Ctrl-C; with --exit it ends, with status 0 only
if each call went as it should.`,
		Args: cobra.NoArgs,
	}
	exit := c.Flags().Bool("exit", false, "end after the calls")
	listen := c.Flags().String("listen", "127.0.0.1:8080", "address of the gateway; any free port when it is taken")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		wait := func() {
			fmt.Println("\nThe gateway keeps running; press Ctrl-C to end it.")
			<-cmd.Context().Done()
		}
		if *exit {
			wait = nil
		}
		ok, err := server.Demo(cmd.Context(), os.Stdout, *listen, wait)
		if err != nil {
			return err
		}
		if !ok {
			return exitCode(1)
		}
		return nil
	}
	return c
}
