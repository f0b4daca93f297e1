package config

import "testing"

func TestListenMayBeAnAddressAlone(t *testing.T) {
	c, err := Parse("c.yaml", []byte("listen: \"127.0.0.1:18181\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen.Address != "127.0.0.1:18181" || !c.Listen.H2C {
		t.Errorf("got %+v", c.Listen)
	}
	for _, s := range []string{"listen: nonsense\n", "listen: 8080\n", "listen: [\"127.0.0.1:1\"]\n", "iam: keys\n"} {
		if _, err := Parse("c.yaml", []byte(s)); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}
