package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const canary = "s3cr3t-Canary"

// Every refusal names the place and what was expected, and none quotes the file's secrets.
func TestRefusals(t *testing.T) {
	up := "proxy:\n  upstreams:\n    - name: a\n      dialect: openai\n      base_url: http://h\n"
	for _, c := range []struct{ in, at, want string }{
		// the form of the file
		{"lissen: {}", "1:1", `unknown key "lissen"; expected one of listen, data_dir, iam, inspect, watch, proxy, audit, console`},
		{"iam:\n  mod: keys", "2:3", `iam: unknown key "mod"; expected one of mode, pepper, trusted_proxies`},
		{"iam:\n  " + canary + ": keys", "2:3", "iam: unknown key here"},
		{"listen: {h2c: true}\niam: {}\nlisten: {}", "3:1", "given twice"},
		{"iam: {mode: keys, mode: passthrough}", "1:19", "given twice"},
		{"iam: {mode: keys, 'mode': passthrough}", "1:19", "given twice"},
		{"iam: {mode: keys, \"m\\x6fde\": passthrough}", "1:19", "given twice"},
		{"iam: {}\n---\naudit: {}", "2:1", "one document"},
		{"---\n---\n", "", "one document"},
		{"iam: {}\n---\n", "", "one document"},
		{"iam: {}\n...\naudit: {}", "3:1", "one document"},
		{"{}\n--- {}", "2:1", "one document"},
		{"- iam", "1:1", "expected a mapping"},
		{"hello", "1:1", "expected a mapping"},
		{"null", "1:1", "expected a mapping"},
		{"iam: ~", "1:6", "expected a mapping"},
		{"1: 2", "1:1", "expected a key"},
		{"true: 2", "1:1", "expected a key"},
		{"? iam\n: {}", "1:1", "complex key"},
		{"? [a, b]\n: {}", "1:1", "complex key"},
		{"iam: &a {mode: keys}", "1:6", "anchor"},
		{"iam: *a", "1:6", "alias"},
		{"iam:\n  <<: {mode: keys}", "2:3", "merge key"},
		{"iam: !!map {}", "1:6", "tag"},
		{"iam: !custom {}", "1:6", "tag"},
		{"%YAML 1.2\n---\niam: {}", "1:1", "directive"},
		{"iam:\n\tmode: keys", "2:1", "tab"},
		{"iam: {mode: keys", "1:6", ""},
		{"iam: [", "1:6", ""},
		{"iam: \"" + canary, "1:6", ""},
		{"iam: {mode: 'x" + canary + "\n", "", ""},
		{"\xff", "", "UTF-8"},
		{"iam: {}\n\ufeff", "2:1", "byte order mark"},
		{"iam: {}\u2028audit: {}", "1:8", "line break"},
		{"iam: {}\raudit: {}", "1:8", "carriage return"},
		{"iam: \x00", "1:6", "control character"},
		{strings.Repeat("[", 900), "1:25", "too deep"},
		{strings.Repeat("- ", 450), "1:97", "too deep"},
		{"# " + strings.Repeat("x", 1000), "1:1", "lines of at most"},
		{strings.Repeat("\n", 20001), "20001:1", "lines of at most"},
		{strings.Repeat("#\n", 1<<19) + "#", "", "longer than 1MiB"},
		{"console: {theme: dark}", "1:11", "one of address, tls"},
		{"console: {address: 8081}", "1:20", "text"},
		{"console: {address: \"8081\"}", "1:20", "host:port"},
		{"console: {address: \"0.0.0.0:8081\"}", "1:20", "in the clear"},
		{"console: {address: \":8081\"}", "1:20", "in the clear"},
		{"console: {address: \"127.0.0.1:8080\"}", "1:20", "kept apart"},
		{"iam: {key_classes: [{name: A}]}", "1:28", "lower-case"},
		{"iam: {key_classes: [{name: a}, {name: a}]}", "1:39", "named twice"},
		{"iam: {key_classes: [{name: a, max_age: 1h, warn: 1h}]}", "1:50", "less than max_age"},
		{"iam: {mode: keys, issuers: [{name: sallyport, url: \"https://a\", audiences: [x], rules: [{subject: a, upstreams: [a], endpoints: [a], models: [a]}]}]}", "1:36", "name of its own"},
		{"iam: {mode: keys, issuers: [{name: a, url: \"http://a\", audiences: [x], rules: [{subject: a, upstreams: [a], endpoints: [a], models: [a]}]}]}", "1:44", "https URL"},
		{"iam: {mode: keys, issuers: [{name: a, url: \"https://a\", rules: [{subject: a, upstreams: [a], endpoints: [a], models: [a]}]}]}", "1:29", "token for anybody else"},
		{"iam: {mode: keys, issuers: [{name: a, url: \"https://a\", audiences: [x]}]}", "1:29", "fits none"},
		{"iam: {mode: keys, issuers: [{name: a, url: \"https://a\", audiences: [x], algorithms: [HS256], rules: [{subject: a, upstreams: [a], endpoints: [a], models: [a]}]}]}", "", "ES256"},
		{"iam: {mode: keys, issuers: [{name: a, url: \"https://a\", audiences: [x], rules: [{subject: a, endpoints: [a], models: [a]}]}]}", "", "allows nothing"},
		{"iam: {mode: keys, issuers: [{name: a, url: \"https://a\", audiences: [x], rules: [{subject: a, service_account: b/c, upstreams: [a], endpoints: [a], models: [a]}]}]}", "", "or a service_account"},
		{"iam: {mode: keys, issuers: [{name: a, url: \"https://a\"}], exchange: {issuer: \"http://g\", subjects: [{issuer: a, audiences: [x], claim: [sub], match: link, upstreams: [a], endpoints: [a], models: [a]}]}}", "", "https URL of the gateway"},
		{"iam: {mode: keys, issuers: [{name: a, url: \"https://a\"}], exchange: {issuer: \"https://a\", subjects: [{issuer: a, audiences: [x], claim: [sub], match: link, upstreams: [a], endpoints: [a], models: [a]}]}}", "", "URL of another issuer"},
		{"iam: {mode: keys, issuers: [{name: a, url: \"https://a\"}], exchange: {lifetime: 1m, subjects: [{issuer: a, audiences: [x], claim: [sub], match: link, upstreams: [a], endpoints: [a], models: [a]}]}}", "", "https URL of the gateway"},
		{"iam: {mode: keys, issuers: [{name: a, url: \"https://a\"}], exchange: {issuer: \"https://g\", lifetime: 16m, subjects: [{issuer: a, audiences: [x], claim: [sub], match: link, upstreams: [a], endpoints: [a], models: [a]}]}}", "", "from 1m to 15m"},
		{"iam: {mode: passthrough, issuers: [{name: a, url: \"https://a\"}], exchange: {issuer: \"https://g\", subjects: [{issuer: a, audiences: [x], claim: [sub], match: link, upstreams: [a], endpoints: [a], models: [a]}]}}", "", "expected iam.mode: keys"},
		{"iam: {mode: keys, issuers: [{name: a, url: \"https://a\"}], exchange: {issuer: \"https://g\", subjects: [{issuer: b, audiences: [x], claim: [sub], match: link, upstreams: [a], endpoints: [a], models: [a]}]}}", "", "name of one of iam.issuers"},
		{"iam: {mode: keys, issuers: [{name: a, url: \"https://a\"}], exchange: {issuer: \"https://g\", subjects: [{issuer: a, claim: [sub], match: link, upstreams: [a], endpoints: [a], models: [a]}]}}", "", "token for anybody else"},
		{"iam: {mode: keys, issuers: [{name: a, url: \"https://a\"}], exchange: {issuer: \"https://g\", subjects: [{issuer: a, audiences: [x], match: link, upstreams: [a], endpoints: [a], models: [a]}]}}", "", "path of the claim"},
		{"iam: {mode: keys, issuers: [{name: a, url: \"https://a\"}], exchange: {issuer: \"https://g\", subjects: [{issuer: a, audiences: [x], claim: [\"\"], match: link, upstreams: [a], endpoints: [a], models: [a]}]}}", "", "path of the claim"},
		{"iam: {mode: keys, issuers: [{name: a, url: \"https://a\"}], exchange: {issuer: \"https://g\", subjects: [{issuer: a, audiences: [x], claim: [sub], upstreams: [a], endpoints: [a], models: [a]}]}}", "", "link, external_id"},
		{"iam: {mode: keys, issuers: [{name: a, url: \"https://a\"}], exchange: {issuer: \"https://g\", subjects: [{issuer: a, audiences: [x], claim: [sub], match: email, upstreams: [a], endpoints: [a], models: [a]}]}}", "", "link, external_id"},
		{"iam: {mode: keys, issuers: [{name: a, url: \"https://a\"}], exchange: {issuer: \"https://g\", subjects: [{issuer: a, audiences: [x], claim: [sub], match: link, upstreams: [a], endpoints: [a], models: []}]}}", "", "allows nothing"},
		{"iam: {mode: keys, issuers: [{name: a, url: \"https://a\"}], exchange: {issuer: \"https://g\", subjects: [{issuer: a, audiences: [x], tenant: \"\", claim: [sub], match: link, upstreams: [a], endpoints: [a], models: [a]}]}}", "", "id of a tenant"},
		{"iam: {mode: keys, exchange: {issuer: \"https://g\"}}", "", "nobody's token"},
		{"iam: {issuers: [{name: a, url: \"https://a\", audiences: [x], rules: [{subject: a, upstreams: [a], endpoints: [a], models: [a]}]}]}", "", "expected iam.mode: keys"},
		{"iam: {spiffe: {socket: /run/x, allow: [a]}}", "", "Workload API"},
		{"iam: {spiffe: {socket: \"unix:///run/x\"}}", "", "lets nobody in"},
		{"iam: {database: postgres://u:hunter2@h/d}", "1:17", "not the secret itself"},
		// types
		{"listen:\n  h2c: yes", "2:8", "listen.h2c: expected true or false"},
		{"listen:\n  h2c: 'true'", "2:8", "expected true or false"},
		{"listen: {address: 8080}", "1:19", "listen.address: expected text"},
		{"listen: {address: [a]}", "1:19", "expected text"},
		{"listen: []", "1:9", "listen: expected a mapping with address, tls, h2c"},
		{"listen: {tls: ~}", "1:15", "no value"},
		{"iam: {trusted_proxies: 10.0.0.0/8}", "1:24", "expected a list"},
		{"inspect: {fpr_budget: '0.01'}", "1:23", "expected a share"},
		{"inspect: {fpr_budget: 1e-3}", "1:23", "expected a share"},
		{"inspect: {fpr_budget: .01}", "1:23", "expected a share"},
		{"inspect: {fpr_budget: .nan}", "1:23", "expected a share"},
		{"inspect: {fpr_budget: -0.01}", "1:23", "expected a share"},
		{"inspect: {fpr_budget: 0}", "1:23", "from 0.001 to 0.05"},
		{"inspect: {fpr_budget: 1}", "1:23", "from 0.001 to 0.05"},
		{"inspect: {second_opinion: {mode: on}}", "1:34", "one of off, inline, after"},
		{"inspect: {second_opinion: {mode: inline}}", "1:27", "expected the URL"},
		{"inspect: {second_opinion: {mode: inline, url: 'http://h/v1'}}", "1:27", "the name of a model"},
		{"inspect: {second_opinion: {url: 'http://h'}}", "1:33", "without a path"},
		{"inspect: {second_opinion: {url: 'ftp://h/x'}}", "1:33", "URL of one endpoint"},
		{"inspect: {second_opinion: {url: 'http://u:" + canary + "@h/x'}}", "1:33", "expected credential"},
		{"inspect: {second_opinion: {url: 'http://h/x?k=" + canary + "'}}", "1:33", "a query"},
		{"inspect: {second_opinion: {credential: " + canary + "}}", "1:40", "a reference to the secret"},
		{"inspect: {second_opinion: {protocol: grpc}}", "1:38", "one of chat, moderation, classify"},
		{"inspect: {second_opinion: {low: 0.7}}", "1:33", "less than high"},
		{"inspect: {second_opinion: {low: 0.6, high: 0.6}}", "1:33", "less than high"},
		{"inspect: {second_opinion: {deadline: 1ms}}", "1:38", "from 10ms to 30s"},
		{"inspect: {second_opinion: {deadline: 1m}}", "1:38", "from 10ms to 30s"},
		{"inspect: {second_opinion: {per_minute: 0}}", "1:40", "from 1 to 100000"},
		{"inspect: {second_opinion: {at_once: 257}}", "1:37", "from 1 to 256"},
		{"inspect: {learned: false, second_opinion: {mode: after, protocol: moderation, url: 'http://h/x'}}", "1:50", "inspect.learned: true"},
		{"proxy: {limits: {depth: 1.5}}", "1:25", "expected a whole number"},
		{"proxy: {limits: {depth: -1}}", "1:25", "not negative"},
		{"proxy: {limits: {depth: 0x10}}", "1:25", "expected a whole number"},
		{"proxy: {limits: {depth: 0o17}}", "1:25", "expected a whole number"},
		{"proxy: {limits: {depth: 017}}", "1:25", "expected a whole number"},
		{"proxy: {limits: {depth: 1_000}}", "1:25", "expected a whole number"},
		{"proxy: {limits: {depth: 99999999999999999999}}", "1:25", "expected a whole number"},
		{"proxy: {limits: {depth: .inf}}", "1:25", "expected a whole number"},
		{"proxy: {limits: {depth: 0}}", "1:25", "more than zero"},
		{"proxy: {limits: {body: 32MB}}", "1:24", "expected a size"},
		{"proxy: {limits: {body: -1}}", "1:24", "expected a size"},
		{"proxy: {limits: {body: 9999999999GiB}}", "1:24", "expected a size"},
		{"proxy: {limits: {body: 1.5MiB}}", "1:24", "expected a size"},
		{"proxy: {limits: {body: 128MiB}}", "", "proxy.limits.decoded_body: expected at least proxy.limits.body"},
		{"proxy: {timeouts: {idle: 120}}", "1:26", "expected a duration with its unit"},
		{"proxy: {timeouts: {idle: -5s}}", "1:26", "not negative"},
		{"proxy: {timeouts: {leave: -1s}}", "1:27", "not negative"},
		{"proxy: {timeouts: {idle: 0s}}", "1:26", "more than zero"},
		{"proxy: {timeouts: {idle: 9999999999h}}", "1:26", "expected a duration"},
		// values
		{"listen: {address: localhost}", "1:19", "expected host:port"},
		{"listen: {address: ':99999'}", "1:19", "expected host:port"},
		{"listen: {tls: {cert: a}}", "1:15", "listen.tls.key: expected a path"},
		{"data_dir: ''", "1:11", "data_dir: expected a path"},
		{"data_dir: ~/x", "1:11", "~ is not expanded"},
		{"iam: {mode: open}", "1:13", "expected one of passthrough, keys"},
		{"iam: {trusted_proxies: [10.0.0.1]}", "1:25", "iam.trusted_proxies[0]: expected an address range"},
		{"iam: {trusted_proxies: [10.0.0.0/8, 10.1.2.3/8]}", "1:37", "expected 10.0.0.0/8"},
		{"iam: {trusted_proxies: ['::ffff:10.0.0.0/104']}", "1:25", "IPv4 form"},
		{"inspect: {mode: off}", "1:17", "expected one of monitor, enforce, enforce_strict"},
		{"inspect: {policy: [{category: injection}]}", "1:20", "action is missing"},
		{"inspect: {policy: [{action: deny}]}", "1:29", `"deny" is not an action; expected an action: one of allow, flag, sanitize, block`},
		{"inspect: {policy: [{action: " + canary + "}]}", "1:29", "here is not an action"},
		{"inspect: {policy: [{category: toxicity, action: block}]}", "1:31", "is not a category"},
		{"inspect: {policy: [{channel: admin, action: block}]}", "1:30", "is not a channel"},
		{"inspect: {policy: [{direction: up, action: block}]}", "1:32", "is not a direction"},
		{"inspect: {stream: {hold_bytes: 1}}", "1:32", "at least 4KiB"},
		{"watch: {log: {level: loud}}", "1:22", "expected one of debug"},
		{"audit: {content: everything}", "1:18", "expected one of none"},
		{"audit: {checkpoint: {every: 0}}", "1:29", "more than zero"},
		{"proxy: {uninspected: {image: sanitize}}", "1:30", "cannot be sanitised"},
		// upstreams
		{"proxy: {upstreams: []}", "1:20", "at least one upstream"},
		{"proxy: {upstreams: [{}]}", "1:21", "proxy.upstreams[0].name: expected a name"},
		{"proxy: {upstreams: [x]}", "1:21", "expected a mapping with name"},
		{strings.Replace(up, "name: a", "name: v1", 1), "3:13", "v1 begins"},
		{strings.Replace(up, "name: a", "name: Ab", 1), "3:13", "lower-case"},
		{strings.Replace(up, "name: a", "name: a/b", 1), "3:13", "lower-case"},
		{up + "    - name: a\n      dialect: openai\n      base_url: http://h\n", "6:13", `"a" is the name of an earlier upstream`},
		{strings.Replace(up, "openai", "gemini", 1), "4:16", "one of openai, anthropic"},
		{strings.Replace(up, "http://h", "ftp://h", 1), "5:17", "expected an http or https origin"},
		{strings.Replace(up, "http://h", "api.openai.com", 1), "5:17", "expected an http or https origin"},
		{strings.Replace(up, "http://h", "http://", 1), "5:17", "expected an http or https origin"},
		{strings.Replace(up, "http://h", "http://u:"+canary+"@h", 1), "5:17", "user name or password"},
		{strings.Replace(up, "http://h", "http://h?key="+canary, 1), "5:17", "a query or fragment"},
		{strings.Replace(up, "http://h", "'http://h#x'", 1), "5:17", "a query or fragment"},
		{strings.Replace(up, "http://h", "http://h/a/../b", 1), "5:17", "with ., .. or //"},
		{strings.Replace(up, "http://h", "http://h/%2e%2e", 1), "5:17", "escape"},
		{strings.Replace(up, "http://h", "http://h:0", 1), "5:17", "port"},
		{strings.Replace(up, "http://h", "'http://h:'", 1), "5:17", "port"},
		{up + "      protocol: h3\n", "6:17", "expected one of auto, h1, h2c"},
		{strings.Replace(up, "http:", "https:", 1) + "      protocol: h2c\n", "6:17", "without TLS"},
		{up + "      timeouts: {dial: 0s}\n", "6:24", "more than zero"},
		// secrets
		{up + "      credential: " + canary + "\n", "6:19", "expected a reference to the secret, not the secret itself: {env: NAME} or {file: PATH}"},
		{up + "      credential: {" + canary + ": x}\n", "", "expected a reference"},
		{up + "      credential: {env: A, file: b}\n", "", "expected a reference"},
		{up + "      credential: {env: " + canary + "=}\n", "", "name of an environment variable"},
		{up + "      credential: {value: " + canary + "}\n", "", "expected a reference"},
		{up + "      credential: {env: A}\n", "", "expected iam.mode: keys"},
		{up + "      credential: |\n        " + canary + "\n", "", "expected a reference"},
		{"iam: {pepper: " + canary + "}", "1:15", "expected a reference"},
		{"iam: {pepper: {file: '-----BEGIN " + canary + "'}}", "", "expected a path"},
		{up + "      headers: {Authorization: Bearer " + canary + "}\n", "", "carries the credential"},
		{up + "      headers: {x-API-key: {env: A}}\n", "", "carries the credential"},
		{up + "      headers: {Host: h}\n", "", "set by the gateway"},
		{up + "      headers: {'a b': h}\n", "6:17", "header name"},
		{up + "      headers: {a: 1}\n", "6:20", "put numbers in quotes"},
		{up + "      headers: {a: \"x\\r\\ny: " + canary + "\"}\n", "6:20", "printable ASCII"},
		{up + "      headers: {a: x, A: y}\n", "", "given twice"},
	} {
		cfg, err := Parse("f.yaml", []byte(c.in))
		if err == nil {
			t.Errorf("%.80q: accepted", c.in)
			continue
		}
		if cfg != nil {
			t.Errorf("%.80q: a configuration beside the error", c.in)
		}
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80q: %v, want %q", c.in, err, c.want)
		}
		if got := fmt.Sprintf("%d:%d", e.Line, e.Col); c.at != "" && got != c.at {
			t.Errorf("%.80q: at %s, want %s: %v", c.in, got, c.at, err)
		}
		if strings.Contains(err.Error(), canary) || strings.Contains(strings.ToLower(err.Error()), "canary") {
			t.Errorf("%.80q: printed: %v", c.in, err)
		}
		if !strings.HasPrefix(err.Error(), "f.yaml:") {
			t.Errorf("%.80q: no file: %v", c.in, err)
		}
	}
}

func TestAllErrorsAtOnceInOrder(t *testing.T) {
	_, err := Parse("f", []byte("audit: {mode: 1}\niam: {mod: x}\nlisten: {h2c: 3}\n"))
	var es Errors
	if !errors.As(err, &es) || len(es) != 3 || es[0].Line != 1 || es[1].Line != 2 || es[2].Line != 3 {
		t.Errorf("%v", err)
	}
}

func TestValuesAreRead(t *testing.T) {
	c, err := Parse("f", []byte(`
iam: {mode: keys, pepper: {file: /p}, trusted_proxies: [10.0.0.0/8, "fd00::/8"]}
proxy:
  upstreams:
    - name: local-1
      dialect: anthropic
      base_url: http://127.0.0.1:9/prefix/
      credential:
        env: KEY
      headers:
        X-A: "1"
        X-B: {file: /b}
      timeouts: {dial: 1s500ms}
  limits: {body: 1000, depth: 7}
inspect:
  fpr_budget: 0.02
  policy:
    - {channel: tool, direction: answer, action: sanitize}
`))
	if err != nil {
		t.Fatal(err)
	}
	u := c.Proxy.Upstreams[0]
	if len(c.Proxy.Upstreams) != 1 || u.BaseURL != "http://127.0.0.1:9/prefix" || u.Credential.Env != "KEY" || u.Headers["X-A"].Value != "1" ||
		u.Headers["X-B"].Ref.File != "/b" || u.Timeouts.Dial != 1500*time.Millisecond || u.Timeouts.Idle != 5*time.Minute || u.Protocol != ProtocolAuto {
		t.Errorf("%+v", u)
	}
	if c.Inspect.FPRBudget != 0.02 || c.Proxy.Limits.Body != 1000 || c.Proxy.Limits.Depth != 7 || c.Proxy.Limits.Frame != 1<<20 || len(c.IAM.TrustedProxies) != 2 {
		t.Errorf("%+v", c)
	}
	var b bytes.Buffer
	if err := c.Show(&b); err != nil {
		t.Fatal(err)
	}
	back, err := Parse("shown", b.Bytes())
	if err != nil || back.Hash() != c.Hash() {
		t.Errorf("shown: %v\n%s", err, b.String())
	}
}

func TestHash(t *testing.T) {
	hash := func(in string) string {
		c, err := Parse("f", []byte(in))
		if err != nil {
			t.Fatal(err)
		}
		return c.Hash()
	}
	base := hash("iam: {mode: keys, pepper: {env: A}}\naudit: {segment_bytes: 64MiB}")
	for _, same := range []string{"# c\naudit:\n  segment_bytes: 67108864\niam:\n  pepper:\n    env: A\n  mode: 'keys'\n", "iam: {pepper: {env: A}, mode: keys}"} {
		if hash(same) != base {
			t.Errorf("%q has another hash", same)
		}
	}
	t.Setenv("A", "a value")
	if hash("iam: {mode: keys, pepper: {env: A}}") != base {
		t.Error("the value of a secret counts")
	}
	for _, other := range []string{"iam: {mode: keys, pepper: {env: B}}", "iam: {mode: keys, pepper: {file: A}}", "iam: {mode: keys, pepper: {env: A}}\ninspect: {mode: monitor}", "iam: {mode: keys, pepper: {env: A}}\ninspect: {policy: [{action: allow}]}"} {
		if hash(other) == base {
			t.Errorf("%q has the same hash", other)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("a directory was loaded")
	}
	p := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(p, []byte("audit: {mode: best_effort}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(p); err != nil || c.Audit.Mode != AuditBestEffort {
		t.Errorf("%v", err)
	}
	t.Setenv("HOME", "")
	t.Setenv("XDG_STATE_HOME", "relative")
	if _, err := Load(""); err == nil || !strings.Contains(err.Error(), "data_dir") {
		t.Errorf("without a home: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	b, err := os.ReadFile("../../sallyport.example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	for _, s := range []string{"", "iam: {mode: keys}", "a: &a [*a]", "? [x]: y", "- - - -", "iam:\n  pepper: |\n    x", "<<: {}", "!!str a: b", "\"\\x00\": 1", "--- a\n--- b\n...", "{[{", "proxy: {upstreams: [{headers: {a: b}}]}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := Parse("f", in)
		if (c == nil) == (err == nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := c.Show(&out); err != nil {
			t.Fatal(err)
		}
		back, err := Parse("shown", out.Bytes())
		if err != nil {
			t.Fatalf("what Show writes is refused: %v\n%s", err, out.String())
		}
		if back.Hash() != c.Hash() {
			t.Fatalf("what Show writes is another configuration:\n%s", out.String())
		}
	})
}

// The exchange of tokens is off unless it is named; an issuer of people needs no rules and no audiences for
// calls of its own.
func TestExchange(t *testing.T) {
	if Default().IAM.Exchange != nil {
		t.Error("tokens are exchanged by default")
	}
	c, err := Parse("", []byte("iam: {mode: keys, issuers: [{name: a, url: \"https://a\"}], exchange: {issuer: \"https://g\", subjects: [{issuer: a, audiences: [x], claim: [sub], match: link, upstreams: [a], endpoints: [a], models: [a]}]}}"))
	if err != nil {
		t.Fatal(err)
	}
	if e := c.IAM.Exchange; e.Lifetime != 15*time.Minute || e.Subjects[0].Tenant != "default" {
		t.Errorf("%+v", e)
	}
}
