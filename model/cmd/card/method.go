package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sallyport.dev/sallyport/internal/inspect/classify"
	"sallyport.dev/sallyport/internal/inspect/classify/builtin"
)

// shipped is where the built-in weights stand in the source.
const shipped = "internal/inspect/classify/builtin"

// weights are the files of a set of weights, and what they are.
var weights = []struct{ file, what string }{
	{classify.LexicalFile, "lexical tier: hashed n-grams, one logistic regression for what callers say and one for what tools and documents say"},
	{classify.EncoderFile, "encoder tier, int8"},
	{classify.VocabFile, "vocabulary of the encoder's tokeniser"},
	{classify.StackFile, "stack and calibration: a logistic regression per place over the tiers' evidence; the share of benign texts that score as high, per place and kind of text"},
}

func encoder() bool {
	_, err := os.Stat(filepath.Join(shipped, classify.EncoderFile))
	return err == nil
}

func (c *card) method(context.Context) error {
	c.line("Every text of a caller, a tool or a document is read as it stands and in every reading that an attacker could hide it in")
	c.line("(internal/inspect/readings). Rules and the lexical tier read every byte of every reading; the encoder, where there is one,")
	c.line("reads up to six windows. The worst reading counts. Design: [017](../docs/design/017-classifier.md); how it is judged, and")
	c.line("why so: [014](../docs/design/014-judging.md).\n")
	var rows [][]string
	for _, w := range weights {
		st, err := os.Stat(filepath.Join(shipped, w.file))
		switch {
		case err == nil:
			rows = append(rows, []string{"`" + w.file + "`", fmt.Sprint(st.Size()), w.what})
		case w.file == classify.EncoderFile && os.IsNotExist(err):
			rows = append(rows, []string{"`" + w.file + "`", "none", "encoder tier: these weights have none"})
		default:
			return fmt.Errorf("the card is written in the root of the project: %w", err)
		}
	}
	c.table([]string{"file", "bytes", "what"}, rows)
	sum := builtin.Digest()
	c.line("These weights are `%x`.\n", sum[:8])
	script, err := fs.ReadFile(os.DirFS("."), "model/train.sh")
	if err != nil {
		return err
	}
	c.line("Made by `model/train.sh rows` and `model/train.sh fit` (an encoder by the further steps of [model/README.md](README.md)):\n")
	c.line("```sh\n%s```", script)
	return nil
}

func (c *card) limits(context.Context) error {
	c.line("- A text is judged by what it says and where it stands. Whether a tool's call follows from the user's task is not in these figures.")
	c.line("- The rows are public sets, and a part of their labels is loose: a few \"benign\" rows are attacks, a few attacks are none.")
	c.line("- Most rows are English. A language with few benign rows has a wide interval, and a language that is in no row has no figure.")
	c.line("- The documents and tool results that nothing was trained on come from our own generator: new carriers and wordings, but of one hand.")
	c.line("- A source that is left out may have relatives that are not: rewrites of the same attacks are in several sets. Its figure is then too kind.")
	c.line("- The threshold at 1 %% is set on the rows that it is measured on, as for every detector in the table beside; the default budget is not.")
	c.line("- Harmful requests without a technique are no attack here. Models refuse those; this detector does not look for them.")
	c.line("- Who knows the weights can write around them. The figures under \"Rewritten\" are of writers who do not.")
	if encoder() {
		c.line("- Two of the encoder's windows in a long text are drawn by a key of the process, so the last digit of a figure may differ between runs.")
		c.line("- \"One source left out\" and \"Made again\" train the lexical tier and the stack alone: the encoder takes hours.")
	}
	return nil
}
