package config

import (
	"bytes"
	"reflect"
	"testing"
)

func TestDefaultIsTheConfigurationOfNoFile(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/state")
	for _, in := range []string{"", "# nothing\n", "---\n", "iam:\nproxy:\n  limits:\n", "{}", "console: {}", "console:\n"} {
		c, err := Parse("t.yaml", []byte(in))
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if !reflect.DeepEqual(c, Default()) {
			t.Errorf("%q does not give the defaults", in)
		}
	}
	if got := Default().DataDir; got != "/state/sallyport" {
		t.Errorf("data_dir = %q", got)
	}
}

func TestShowIsReadBack(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/state")
	c := Default()
	var b bytes.Buffer
	if err := c.Show(&b); err != nil {
		t.Fatal(err)
	}
	back, err := Parse("shown", b.Bytes())
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	if !reflect.DeepEqual(back, c) {
		t.Errorf("shown and read back differs:\n%s", b.String())
	}
	if back.Hash() != c.Hash() {
		t.Error("hash differs")
	}
}
