package main

import (
	"fmt"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/internal/server"
)

func versionCommand() *cobra.Command {
	c := &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs}
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(*cobra.Command, []string) error {
		if *asJSON {
			return printJSON(os.Stdout, map[string]string{"version": server.Version(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
		}
		fmt.Println("sallyport", server.Version(), runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
		return nil
	}
	return c
}
