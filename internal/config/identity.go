package config

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

func (d *decoder) identity(c *IAM) {
	d.choice("iam.mode", c.Mode, IAMPassthrough, IAMKeys)
	d.issuers(c)
	d.exchange(c)
	if c.Nodes < 1 || c.Nodes > 1000 {
		d.invalid("iam.nodes", "expected from 1 to 1000")
	}
	if c.Offline < 2*time.Second || c.Offline > 30*time.Second {
		d.invalid("iam.offline", "expected from 2s to 30s: a revocation could be missed for as long")
	}
	d.path("iam.prices", c.Prices, true)
	d.path("iam.leaked_keys", c.LeakedKeys, true)
	if len(c.Issuers) > 0 && c.Mode != IAMKeys {
		d.invalid("iam.issuers", "with iam.mode: passthrough callers bring the provider's credential; expected iam.mode: keys")
	}
	if s := c.SPIFFE; s != nil {
		if !strings.HasPrefix(s.Socket, "unix:///") {
			d.invalid("iam.spiffe.socket", "expected the address of a Workload API, such as unix:///run/spire/agent.sock")
		}
		if len(s.Allow) == 0 {
			d.invalid("iam.spiffe.allow", "expected at least one SPIFFE id or pattern: an empty list lets nobody in")
		}
	}
	names := map[string]bool{}
	for i, k := range c.KeyClasses {
		key := fmt.Sprintf("iam.key_classes[%d]", i)
		switch {
		case !namePattern.MatchString(k.Name):
			d.invalid(key+".name", "expected a name of 1 to 63 lower-case letters, digits and hyphens")
		case names[k.Name]:
			d.invalid(key+".name", "the class is named twice; expected a name of its own")
		}
		names[k.Name] = true
		if k.MaxAge > 0 && k.Warn >= k.MaxAge {
			d.invalid(key+".warn", "expected less than max_age")
		}
	}
}

func (d *decoder) console(c *Config) {
	if c.Console.Address == "" {
		return
	}
	host, port, err := net.SplitHostPort(c.Console.Address)
	if err != nil || !validPort(port, true) {
		d.invalid("console.address", "expected host:port, such as 127.0.0.1:8081, or nothing for no listener")
		return
	}
	if c.Console.Address == c.Listen.Address && port != "0" {
		d.invalid("console.address", "expected another address than listen.address: administration is kept apart")
	}
	if t := c.Console.TLS; t != nil {
		d.path("console.tls.cert", t.Cert, false)
		d.path("console.tls.key", t.Key, false)
	} else if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		d.invalid("console.address", "sessions would travel in the clear; expected a loopback address, or console.tls")
	}
	if c.Console.PublicURL == "" {
		return
	}
	scheme := "http"
	if c.Console.TLS != nil {
		scheme = "https"
	}
	u, err := url.Parse(c.Console.PublicURL)
	if err != nil || u.Scheme != scheme || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		d.invalid("console.public_url", "expected "+scheme+"://host[:port] and nothing after it")
	}
}
