package removal

const (
	credential = "internal/iam/credential.go"
	forwarding = "internal/proxy/headers.go"
)

// headers: whose credential, whose word, and what leaves.
var headers = []removal{
	{row: "headers", what: "a credential header twice", file: credential,
		old: "if len(vs) > 1 {\n\t\t\treturn \"\", false", new: "if len(vs) > 1 && vs[0] == \"\" {\n\t\t\treturn \"\", false", in: "test/hostile", run: "TestB8WhoseCredential"},
	{row: "headers", what: "a credential header twice, over HTTP/2", file: credential,
		old: "if len(vs) > 1 {\n\t\t\treturn \"\", false", new: "if len(vs) > 1 && vs[0] == \"\" {\n\t\t\treturn \"\", false", in: "test/hostile", run: "TestB11FramesOfHTTP2"},
	{row: "headers", what: "different credentials in different headers", file: credential,
		old: "if cred != \"\" && cred != v {", new: "if false {", in: "test/hostile", run: "TestB8WhoseCredential"},
	{row: "headers", what: "a list", file: credential,
		old: "r == ',' ||", new: "", in: "test/hostile", run: "TestB8WhoseCredential"},
	{row: "headers", what: "twins with underscores", file: credential,
		old: "if twin(name) {", new: "if false && twin(name) {", in: "test/hostile", run: "TestB8WhoseCredential"},
	{row: "headers", what: "a key where none is looked for", file: authn,
		old: "if stray(x) {", new: "if false && stray(x) {", in: "test/hostile", run: "TestB8WhoseCredential"},
	{row: "headers", what: "a key in the query", file: credential,
		old: "return apikey.In(x.Path) || apikey.In(x.Query)", new: "return apikey.In(x.Path)", in: "test/hostile", run: "TestB8WhoseCredential"},
	{row: "headers", what: "a key in another header", file: credential,
		old: "if slices.ContainsFunc(vs, apikey.In) {", new: "if false && slices.ContainsFunc(vs, apikey.In) {", in: "test/hostile", run: "TestB8WhoseCredential"},
	{row: "headers", what: "a key that is percent-encoded", file: "internal/iam/apikey/in.go",
		old: "return in(s) || strings.IndexByte(s, '%') >= 0 && in(unescape(s))", new: "_ = unescape\n\treturn in(s)", in: "test/hostile", run: "TestB8WhoseCredential"},
	{row: "headers", what: "a key in a path is not kept", file: "internal/proxy/route.go",
		old: "if apikey.In(path) {", new: "if false && apikey.In(path) {", in: "test/hostile", run: "TestB8WhoseCredential"},
	{row: "headers", what: "our key does not leave", file: forwarding,
		old: "|| g.strip[n] {", new: "{", in: "test", run: "TestGatewayKeys|TestTokenNeverLeaves"},
	{row: "headers", what: "nobody's word on the caller leaves", file: "internal/iam/iam.go",
		old: "slices.Concat(credentialHeaders[:], alsoStripped[:])", new: "slices.Concat(credentialHeaders[:], alsoStripped[:0])", in: "test/hostile", run: "TestB9WhatProxiesSay"},
	{row: "headers", what: "nor under another spelling", file: forwarding,
		old: "if strings.IndexByte(k, '_') >= 0 {", new: "if false {", in: "test/hostile", run: "TestB9WhatProxiesSay"},
	{row: "headers", what: "our own headers are ours", file: forwarding,
		old: "strings.HasPrefix(n, \"Sallyport-\") || strings.HasPrefix(n, \"X-Sallyport-\") ||", new: "", in: "test/hostile", run: "TestB6OurHeadersAreOurs"},
	{row: "headers", what: "fields of a connection end here", file: forwarding,
		old: "if isHopByHop(k) || named[k] {", new: "if isHopByHop(k) {", in: "test/hostile", run: "TestB6OurHeadersAreOurs"},
	{row: "headers", what: "what the body is read by is no field of a connection", file: forwarding,
		old: "|| strings.HasPrefix(f, \"Content-\") {", new: "{", in: "test/hostile", run: "TestB9WhatProxiesSay"},
	{row: "headers", what: "proxies that are trusted", file: "internal/iam/forwarded.go",
		old: "if len(trusted) == 0 || !contains(trusted, peer) {", new: "if false {", in: "test/hostile", run: "TestB10WhereFrom"},
	{row: "headers", what: "from the end of the chain", file: "internal/iam/forwarded.go",
		old: "if peer = a; !contains(trusted, a) {\n\t\t\t\treturn a", new: "if peer = a; false {\n\t\t\t\treturn a", in: "test/hostile", run: "TestB10WhereFrom"},
	{row: "headers", what: "what is no address ends the search", file: "internal/iam/forwarded.go",
		old: "if !ok {\n\t\t\t\treturn peer", new: "if !ok {\n\t\t\t\tcontinue", in: "test/hostile", run: "TestB10WhereFrom"},
	{row: "headers", what: "a URL for a path, over HTTP/2", file: "internal/proxy/headguard/listen.go",
		old: "return refused(errTarget)", new: "_ = errTarget", in: "test/hostile", run: "TestB11FramesOfHTTP2"},
	{row: "headers", what: "a head that two would read differently", file: "internal/proxy/headguard/head.go",
		old: "h.err = f.judge(r)", new: "_ = f.judge", in: "test/hostile", run: "TestB6Smuggling"},
	{row: "headers", what: "space around a name", file: "internal/proxy/headguard/head.go",
		old: "if i < 1 || line[i-1] == ' ' || line[i-1] == '\\t' {", new: "if i < 1 {", in: "internal/proxy/headguard", run: "TestSmugglingIsRefused"},
}
