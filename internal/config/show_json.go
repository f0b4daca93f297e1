package config

import (
	"bytes"
	"fmt"
	"io"

	"github.com/goccy/go-yaml"
)

// ShowJSON is Show as one line of JSON.
func (c *Config) ShowJSON(w io.Writer) error {
	var b bytes.Buffer
	if err := c.Show(&b); err != nil {
		return err
	}
	j, err := yaml.YAMLToJSON(b.Bytes())
	if err != nil {
		return fmt.Errorf("config: write JSON: %w", err)
	}
	_, err = w.Write(j)
	return err
}
