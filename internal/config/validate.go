package config

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml/token"
	"golang.org/x/mod/sumdb/note"

	"sallyport.dev/sallyport/internal/gate"
)

// invalid notes that the setting called key is wrong, at its place or that of its nearest parent.
func (d *decoder) invalid(key, msg string) {
	var pos *token.Position
	for at := key; at != "" && pos == nil; at = parentKey(at) {
		pos = d.at[at]
	}
	d.fail(pos, key, msg)
}

func parentKey(key string) string { return key[:max(0, strings.LastIndexAny(key, ".["))] }

// choice checks a word setting.
func (d *decoder) choice(key, got string, allowed ...string) {
	for _, a := range allowed {
		if got == a {
			return
		}
	}
	d.invalid(key, "expected "+oneOf(allowed))
}

func (d *decoder) positive(key string, n int64) {
	if n <= 0 {
		d.invalid(key, "expected more than zero")
	}
}

func (d *decoder) path(key, p string, optional bool) {
	if (p != "" || !optional) && !validPath(p) {
		d.invalid(key, "expected a path; ~ is not expanded")
	}
}

// validate checks what a single value cannot show.
func (d *decoder) validate(c *Config) {
	if _, port, err := net.SplitHostPort(c.Listen.Address); err != nil || !validPort(port, true) {
		d.invalid("listen.address", "expected host:port, such as 127.0.0.1:8080 or [::1]:8080")
	}
	if t := c.Listen.TLS; t != nil {
		d.path("listen.tls.cert", t.Cert, false)
		d.path("listen.tls.key", t.Key, false)
	}
	if c.DataDir == "" && d.at["data_dir"] == nil {
		d.invalid("data_dir", "there is no home directory to put it in; expected a path here")
	} else {
		d.path("data_dir", c.DataDir, false)
	}
	d.identity(&c.IAM)
	if c.IAM.SPIFFE != nil && c.Listen.TLS != nil {
		d.invalid("listen.tls", "with iam.spiffe the Workload API gives the certificate; expected one of them")
	}
	d.console(c)
	d.choice("watch.log.level", c.Watch.Log.Level, "debug", "info", "warn", "error")
	d.choice("watch.log.format", c.Watch.Log.Format, "text", "json")
	d.inspect(&c.Inspect)
	d.proxy(c)
	d.choice("audit.mode", c.Audit.Mode, AuditDurable, AuditBestEffort)
	d.choice("audit.content", c.Audit.Content, ContentNone, ContentHashed, ContentRedacted, ContentFull)
	if c.Audit.SegmentBytes < 1<<20 {
		d.invalid("audit.segment_bytes", "expected at least 1MiB")
	}
	d.positive("audit.checkpoint.every", int64(c.Audit.Checkpoint.Every))
	d.positive("audit.checkpoint.interval", int64(c.Audit.Checkpoint.Interval))
	d.path("audit.checkpoint.file", c.Audit.Checkpoint.File, true)
}

func (d *decoder) inspect(c *Inspect) {
	d.choice("inspect.mode", c.Mode, ModeMonitor, ModeEnforce, ModeEnforceStrict)
	for i := range c.Policy {
		if key := fmt.Sprintf("inspect.policy[%d]", i); d.at[key+".action"] == nil {
			d.invalid(key, "action is missing; expected one of allow, flag, sanitize, block")
		}
	}
	d.positive("inspect.stream.hold_time", int64(c.Stream.HoldTime))
	if c.Stream.HoldBytes < 4<<10 {
		d.invalid("inspect.stream.hold_bytes", "expected at least 4KiB, the length of the longest match")
	}
	for _, l := range []struct {
		key   string
		paths []string
	}{{"files", c.Rules.Files}, {"gitleaks", c.Rules.Gitleaks}} {
		for i, p := range l.paths {
			d.path(fmt.Sprintf("inspect.rules.%s[%d]", l.key, i), p, false)
		}
	}
	for i, id := range c.Rules.Disable {
		if id == "" {
			d.invalid(fmt.Sprintf("inspect.rules.disable[%d]", i), "expected the id of a rule")
		}
	}
	d.packs(&c.Packs)
	if !(c.FPRBudget >= 0.001 && c.FPRBudget <= 0.05) {
		d.invalid("inspect.fpr_budget", "expected a share of benign texts from 0.001 to 0.05")
	}
	d.opinion(c)
}

func (d *decoder) opinion(c *Inspect) {
	const at = "inspect.second_opinion"
	o := &c.SecondOpinion
	on := o.Mode == OpinionInline || o.Mode == OpinionAfter
	d.choice(at+".mode", o.Mode, OpinionOff, OpinionInline, OpinionAfter)
	d.choice(at+".protocol", o.Protocol, OpinionChat, OpinionModeration, OpinionClassify)
	switch {
	case o.URL != "":
		if msg := checkBaseURL(o.URL); msg != "" {
			d.invalid(at+".url", strings.Replace(msg, "origin with an optional path prefix, such as https://api.openai.com", "URL of one endpoint, such as http://127.0.0.1:8000/v1/chat/completions", 1))
		} else if u, err := url.Parse(o.URL); err != nil || strings.Trim(u.Path, "/") == "" {
			d.invalid(at+".url", "a URL without a path; expected the whole address of the endpoint, such as http://127.0.0.1:8000/v1/chat/completions")
		}
	case on:
		d.invalid(at+".url", "expected the URL of the endpoint to ask, such as http://127.0.0.1:8000/v1/chat/completions")
	}
	if on && o.Protocol != OpinionModeration && o.Model == "" {
		d.invalid(at+".model", "expected the name of a model; only the moderation protocol goes without")
	}
	if on && !c.Learned {
		d.invalid(at+".mode", "only the learned tiers can be unsure of a text; expected inspect.learned: true, or off")
	}
	if !(o.Low < o.High) {
		d.invalid(at+".low", "expected less than high")
	}
	if o.Deadline < 10*time.Millisecond || o.Deadline > 30*time.Second {
		d.invalid(at+".deadline", "expected from 10ms to 30s")
	}
	if o.PerMinute < 1 || o.PerMinute > 100000 {
		d.invalid(at+".per_minute", "expected from 1 to 100000")
	}
	if o.AtOnce < 1 || o.AtOnce > 256 {
		d.invalid(at+".at_once", "expected from 1 to 256")
	}
}

var packID = regexp.MustCompile(`^[a-z0-9-]{1,40}@[0-9a-z.-]{5,40}$`)

func (d *decoder) packs(c *Packs) {
	for i, k := range c.TrustedKeys {
		key := fmt.Sprintf("inspect.packs.trusted_keys[%d]", i)
		if strings.HasPrefix(k, "PRIVATE") {
			d.invalid(key, "this is a private key; expected the public one, and the private one in no configuration")
		} else if _, err := note.NewVerifier(k); err != nil {
			d.invalid(key, "expected a public key as sallyport pack keygen prints it")
		}
	}
	d.path("inspect.packs.directory", c.Directory, true)
	d.choice("inspect.packs.on_invalid", c.OnInvalid, PackRefuse, PackBuiltin)
	if c.Shadow != "" && !packID.MatchString(c.Shadow) {
		d.invalid("inspect.packs.shadow", "expected an installed pack: name@version")
	}
}

func (d *decoder) proxy(c *Config) {
	p := &c.Proxy
	if len(p.Upstreams) == 0 {
		d.invalid("proxy.upstreams", "expected at least one upstream; leave the key out for the default ones")
	}
	names := map[string]bool{}
	for i := range p.Upstreams {
		d.upstream(fmt.Sprintf("proxy.upstreams[%d]", i), &p.Upstreams[i], c.IAM.Mode, names)
	}
	l := &p.Limits
	for key, n := range map[string]int64{
		"body": int64(l.Body), "decoded_body": int64(l.DecodedBody), "header": int64(l.Header),
		"in_flight": int64(l.InFlight), "per_key": int64(l.PerKey), "body_memory": int64(l.BodyMemory),
		"answer": int64(l.Answer), "frame": int64(l.Frame), "depth": int64(l.Depth),
	} {
		d.positive("proxy.limits."+key, n)
	}
	if l.DecodedBody < l.Body {
		d.invalid("proxy.limits.decoded_body", "expected at least proxy.limits.body")
	}
	if l.BodyMemory < l.Body {
		d.invalid("proxy.limits.body_memory", "expected at least proxy.limits.body")
	}
	t := &p.Timeouts
	for key, n := range map[string]time.Duration{"header": t.Header, "write_stall": t.WriteStall, "idle": t.Idle, "drain": t.Drain} {
		d.positive("proxy.timeouts."+key, int64(n))
	}
	for _, k := range gate.UninspectedKinds() {
		if p.Uninspected.Action(k) == gate.Sanitize {
			d.invalid("proxy.uninspected."+k.String(), "what cannot be read cannot be sanitised; expected one of allow, flag, block")
		}
	}
}

func (d *decoder) upstream(key string, u *Upstream, mode string, names map[string]bool) {
	switch {
	case u.Name == "v1":
		d.invalid(key+".name", "v1 begins the paths of the providers' interfaces; expected another name")
	case !namePattern.MatchString(u.Name):
		d.invalid(key+".name", "expected a name of 1 to 63 lower-case letters, digits and hyphens")
	case names[u.Name]:
		d.invalid(key+".name", `"`+u.Name+`" is the name of an earlier upstream; expected a name of its own`)
	}
	names[u.Name] = true
	if u.Dialect == "" {
		d.invalid(key+".dialect", "expected one of openai, anthropic")
	}
	if msg := checkBaseURL(u.BaseURL); msg != "" {
		d.invalid(key+".base_url", msg)
	}
	u.BaseURL = strings.TrimRight(u.BaseURL, "/")
	d.choice(key+".protocol", u.Protocol, ProtocolAuto, ProtocolH1, ProtocolH2C)
	if u.Protocol == ProtocolH2C && strings.HasPrefix(u.BaseURL, "https:") {
		d.invalid(key+".protocol", "h2c is HTTP/2 without TLS; expected an http:// base_url, or auto")
	}
	if u.Credential != nil && mode != IAMKeys {
		d.invalid(key+".credential", "with iam.mode: passthrough callers bring their own credential, and whoever reaches the gateway would spend this one; expected iam.mode: keys")
	}
	seen := map[string]string{}
	for name := range u.Headers {
		low := strings.ToLower(name)
		if seen[low] != "" {
			d.invalid(key+".headers."+name, "the same header is given twice")
		}
		seen[low] = name
		d.header(key+".headers."+name, low)
	}
	for k, n := range map[string]time.Duration{
		"dial": u.Timeouts.Dial, "tls": u.Timeouts.TLS,
		"response_header": u.Timeouts.ResponseHeader, "idle": u.Timeouts.Idle,
	} {
		d.positive(key+".timeouts."+k, int64(n))
	}
	d.path(key+".ca_file", u.CAFile, true)
}

// header refuses names that would change who is called, how the message is framed, or who pays.
func (d *decoder) header(key, low string) {
	switch low {
	case "authorization", "x-api-key", "api-key":
		d.invalid(key, "this header carries the credential; expected credential: {env: NAME} beside headers")
	case "host", "content-length", "content-encoding", "accept-encoding", "transfer-encoding", "connection", "keep-alive",
		"te", "trailer", "upgrade", "proxy-authorization", "proxy-authenticate", "proxy-connection", "expect":
		d.invalid(key, "this header is set by the gateway; expected another")
	}
}

func checkBaseURL(s string) string {
	const want = "expected an http or https origin with an optional path prefix, such as https://api.openai.com"
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.Opaque != "" {
		return want
	}
	if u.User != nil {
		return "a user name or password in a URL; expected credential: {env: NAME}"
	}
	if strings.ContainsAny(s, "?#") {
		return "a query or fragment; " + want
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' || r == '%' }) {
		return "a space, backslash, escape or character outside ASCII; " + want
	}
	if !validPort(u.Port(), false) && u.Port() != "" || strings.HasSuffix(u.Host, ":") {
		return "expected a port from 1 to 65535"
	}
	for _, seg := range strings.Split(strings.Trim(u.Path, "/"), "/") {
		if seg == "." || seg == ".." || (seg == "" && strings.Trim(u.Path, "/") != "") {
			return "a path with ., .. or // in it; " + want
		}
	}
	return ""
}

func validPort(s string, zero bool) bool {
	n, err := parseWhole(s)
	return err == nil && n <= 65535 && (n > 0 || zero)
}
