package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command has a story in test/scripts in which it succeeds, without an exception.
func TestEveryCommandHasAStory(t *testing.T) {
	root := rootCommand()
	root.InitDefaultCompletionCmd("bash") // of the commands that the library adds; the other, help, does nothing else
	told := map[*cobra.Command]bool{}
	scripts, err := filepath.Glob("../../test/scripts/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatal(err, "no stories")
	}
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(line, "-- ") {
				break // from here on its files
			}
			words := strings.Fields(line)
			if len(words) < 3 || words[0] != "exec" || words[1] != "sallyport" {
				continue // "! exec" tells of a failure
			}
			c := root
			for _, w := range words[2:] {
				next := child(c, w)
				if next == nil {
					break
				}
				c = next
			}
			told[c] = true
		}
	}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Runnable() && !c.HasSubCommands() && !told[c] {
			t.Errorf("no story in which `%s` succeeds", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

func child(c *cobra.Command, name string) *cobra.Command {
	for _, sub := range c.Commands() {
		if sub.Name() == name || sub.HasAlias(name) {
			return sub
		}
	}
	return nil
}
