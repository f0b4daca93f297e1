package test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/server"
	"sallyport.dev/sallyport/internal/store/pgtest"
	"sallyport.dev/sallyport/test/gatetest"
)

// keep writes a secret to a file of its own.
func keep(t *testing.T, dir, name, text string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// under calls without end until stop, which says how many calls there were; every one must succeed.
func under(t *testing.T, call func() (int, string)) (stop func() int64) {
	t.Helper()
	var n atomic.Int64
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if status, text := call(); status != http.StatusOK {
					t.Errorf("a call was refused: %d %s", status, text)
					return
				}
				n.Add(1)
			}
		})
	}
	return func() int64 { cancel(); wg.Wait(); return n.Load() }
}

// The key that seals everything is replaced while calls need what it seals: none is refused, nothing is
// lost, and the old one opens nothing afterwards.
func TestTheMasterKeyIsReplacedUnderLoad(t *testing.T) {
	dir := t.TempDir()
	first := keep(t, dir, "first", "K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=")
	second := keep(t, dir, "second", "LHDgEoXxzTTaCGPwDBPKXA2jCzZjPHhmFp0s5GxUQ1w=")
	t.Setenv("PROVIDER_KEY", "sk-from-the-config")
	up := gatetest.NewUpstream(t)
	yaml := func(iam string) string {
		return fmt.Sprintf("iam: {mode: keys, %s}\nproxy:\n  allow_private: [127.0.0.0/8]\n  upstreams:\n    - {name: openai, dialect: openai, base_url: %q, credential: {env: PROVIDER_KEY}}\n", iam, up.URL)
	}
	g := gatetest.Start(t, up, yaml(fmt.Sprintf("master_key: {file: %q}", first)))
	a := administer(t, g)
	_, key := a.key("")
	a.do("POST", "/providers", `{"upstream":"openai","name":"n","value":"sk-that-is-sealed"}`)
	bearer := func() string { s := up.Seen(); return s[len(s)-1].Header.Get("Authorization") }
	for callWith(t, g, key); bearer() != "Bearer sk-that-is-sealed"; callWith(t, g, key) {
		time.Sleep(5 * time.Millisecond) // until the change has arrived
	}
	stop := under(t, func() (int, string) {
		res := do(t, g.URL, chat(question).with("Authorization", "Bearer "+key))
		return res.status, string(res.body)
	})
	reload := func(iam string) error {
		g.Write(up, yaml(iam))
		return g.Server.Reload(t.Context())
	}
	// The old one cannot be left out while it is needed.
	if err := reload(fmt.Sprintf("master_key: {file: %q}", second)); err == nil {
		t.Error("a configuration is taken that opens nothing")
	}
	if err := reload(fmt.Sprintf("master_key: {file: %q}, old_master_keys: [{file: %q}]", second, first)); err != nil {
		t.Fatal(err)
	}
	if m := a.do("POST", "/system/master-key/rewrap", ""); m["changed"].(float64) < 1 || len(m["in_use"].(map[string]any)) != 1 {
		t.Errorf("%v", m)
	}
	a.do("POST", "/system/data-keys/rotate", "")
	a.do("POST", "/system/master-key/rewrap", "")
	if err := reload(fmt.Sprintf("master_key: {file: %q}", second)); err != nil {
		t.Fatal(err)
	}
	seen := len(up.Seen())
	for len(up.Seen()) < seen+50 {
		time.Sleep(5 * time.Millisecond) // other goroutines call
	}
	n := stop()
	for _, s := range up.Seen()[seen:] {
		if s.Header.Get("Authorization") != "Bearer sk-that-is-sealed" {
			t.Fatalf("the provider got %q", s.Header.Get("Authorization"))
		}
	}
	t.Logf("%d calls, none refused", n)
	if err := reload(fmt.Sprintf("master_key: {file: %q}", first)); err == nil {
		t.Error("the key of before still opens what there is")
	}
	g.Close()
	g.Write(up, yaml(fmt.Sprintf("master_key: {file: %q}", second)))
	g.Open()
	if s := callWith(t, g, key); s != 200 || bearer() != "Bearer sk-that-is-sealed" {
		t.Errorf("after a restart: %d %s", s, bearer())
	}
}

// A backup is made while calls and changes go on, and fills another engine: keys, roles and sealed
// credentials are as they were.
func TestBackupIntoAnotherEngine(t *testing.T) {
	pg := pgtest.Start(t)
	dir := t.TempDir()
	pepper, master := keep(t, dir, "pepper", "a pepper of the installation"), keep(t, dir, "master", "K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=")
	t.Setenv("PROVIDER_KEY", "sk-from-the-config")
	t.Setenv("DATABASE", pg.Database(t))
	up := gatetest.NewUpstream(t)
	yaml := func(more string) string {
		return fmt.Sprintf("iam: {mode: keys, pepper: {file: %q}, master_key: {file: %q}%s}\nproxy:\n  allow_private: [127.0.0.0/8]\n  upstreams:\n    - {name: openai, dialect: openai, base_url: %q, credential: {env: PROVIDER_KEY}}\n", pepper, master, more, up.URL)
	}
	old := gatetest.Start(t, up, yaml(""))
	a := administer(t, old)
	_, key := a.key("")
	gone, goneKey := a.key("")
	a.do("POST", "/tenants/default/keys/"+gone+"/revoke", "")
	a.do("POST", "/providers", `{"upstream":"openai","name":"n","value":"sk-that-is-sealed"}`)
	a.do("POST", "/tenants/default/policies", `{"name":"only m","text":"permit (principal, action, resource); forbid (principal, action, resource in Model::\"secret-model\");"}`)
	stop := under(t, func() (int, string) {
		res := do(t, old.URL, chat(question).with("Authorization", "Bearer "+key))
		return res.status, string(res.body)
	})
	cfg, err := config.Load(old.Config)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	for i := range 5 {
		a.do("POST", "/tenants/default/teams", fmt.Sprintf(`{"name":"team %d"}`, i))
		file.Reset()
		if _, err := server.Backup(t.Context(), cfg, &file); err != nil {
			t.Fatal(err)
		}
	}
	n := stop()
	t.Logf("%d calls beside five backups, none refused; %d bytes", n, file.Len())

	probe := filepath.Join(dir, "restore.yaml")
	text := fmt.Sprintf("data_dir: %q\n", filepath.Join(dir, "new")) + yaml(", database: {env: DATABASE}")
	if err := os.WriteFile(probe, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	to, err := config.Load(probe)
	if err != nil {
		t.Fatal(err)
	}
	out, err := server.Restore(t.Context(), to, bytes.NewReader(file.Bytes()))
	if err != nil || out.Sealed != "" {
		t.Fatalf("%+v %v", out, err)
	}
	if _, err := server.Restore(t.Context(), to, bytes.NewReader(file.Bytes())); err == nil {
		t.Error("a backup is restored over what there is")
	}
	g := gatetest.Start(t, up, yaml(", database: {env: DATABASE}"))
	if s := callWith(t, g, key); s != 200 {
		t.Errorf("the key, restored: %d", s)
	}
	if s := up.Seen(); s[len(s)-1].Header.Get("Authorization") != "Bearer sk-that-is-sealed" {
		t.Errorf("the provider got %q", s[len(s)-1].Header.Get("Authorization"))
	}
	if s := callWith(t, g, goneKey); s != 401 {
		t.Errorf("a revoked key, restored: %d", s)
	}
	if res := do(t, g.URL, chat(`{"model":"secret-model","messages":[]}`).with("Authorization", "Bearer "+key)); res.status != 403 {
		t.Errorf("the policy, restored: %d", res.status)
	}
	if l := administer(t, g).do("GET", "/tenants/default/teams", "")["items"].([]any); len(l) != 5 {
		t.Errorf("%d teams", len(l))
	}
}

func cfgOf(t *testing.T, g *gatetest.Gate) *config.Config {
	t.Helper()
	cfg, err := config.Load(g.Config)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// row is a key as a backup has it.
type row struct {
	ID, Current, Previous string
}

// hashes are those of the keys in a backup, as somebody who has it could try them.
func hashes(t *testing.T, cfg *config.Config) (out []row) {
	t.Helper()
	var b bytes.Buffer
	if _, err := server.Backup(t.Context(), cfg, &b); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(b.String(), "\n") {
		var l struct{ Key *row }
		if err := json.Unmarshal([]byte(line), &l); err == nil && l.Key != nil {
			out = append(out, *l.Key)
		}
	}
	if len(out) == 0 {
		t.Fatal("no key is in the backup")
	}
	return out
}

// encodings of a secret in which it could lie somewhere.
func encodings(s string) map[string][]byte {
	return map[string][]byte{
		"as it is": []byte(s), "base64": []byte(base64.StdEncoding.EncodeToString([]byte(s))), "base64 without padding": []byte(base64.RawURLEncoding.EncodeToString([]byte(s))),
		"hexadecimal": []byte(hex.EncodeToString([]byte(s))), "in a URL": []byte(url.QueryEscape(s)), "reversed": []byte(reversed(s)),
	}
}

func reversed(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

// Every secret that there is, made by using the gateway, is looked for in all that it leaves behind: the
// database as files and as a dump, the log at its most talkative, the record, a backup, the stacks of the
// process, what it answers. None is found; and a hash that is found is not taken as the key it is of.
func TestNoUsableSecretIsLeftBehind(t *testing.T) {
	if _, err := exec.LookPath("oathtool"); err != nil {
		if os.Getenv("SALLYPORT_TEST_REQUIRE") == "all" {
			t.Fatalf("oathtool: %v", err)
		}
		t.Skipf("oathtool: %v", err)
	}
	pg := pgtest.Start(t)
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			const configured, sealed, client, password = "sk-credential-of-the-config", "sk-credential-that-is-sealed", "client-secret-of-the-idp", "a walk along the quay"
			t.Setenv("PROVIDER_KEY", configured)
			dir := t.TempDir()
			const pepper, kek = "a pepper of this installation", "K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="
			more := ""
			dsn := ""
			if engine == "postgres" {
				dsn = pg.Database(t)
				t.Setenv("DATABASE", dsn)
				more = ", database: {env: DATABASE}"
			}
			up := gatetest.NewUpstream(t)
			g := gatetest.Start(t, up, fmt.Sprintf("iam: {mode: keys, pepper: {file: %q}, master_key: {file: %q}%s}\nconsole: {address: \"127.0.0.1:0\"}\nwatch: {log: {level: debug}}\nproxy:\n  allow_private: [127.0.0.0/8]\n  upstreams:\n    - {name: openai, dialect: openai, base_url: %q, credential: {env: PROVIDER_KEY}}\n",
				keep(t, dir, "pepper", pepper), keep(t, dir, "master", kek), more, up.URL))
			a := administer(t, g)
			secrets := map[string]string{"credential of the configuration": configured, "sealed credential": sealed, "client secret": client, "password": password, "pepper": pepper, "master key": kek}
			add := func(what, s string) string {
				t.Helper()
				if len(s) < 6 {
					t.Fatalf("%s: %q is no secret to look for", what, s)
				}
				secrets[what] = s
				return s
			}
			id, key := a.key("")
			add("key", strings.Split(key, "_")[3])
			rotated := a.do("POST", "/tenants/default/keys/"+id+"/rotate", `{}`)["secret"].(string)
			add("rotated key", strings.Split(rotated, "_")[3])
			add("token for SCIM", strings.Split(a.do("POST", "/tenants/default/scim-tokens", `{"name":"entra"}`)["secret"].(string), "_")[3])
			a.do("POST", "/providers", `{"upstream":"openai","name":"n","value":"`+sealed+`"}`)
			a.do("POST", "/tenants/default/identity-providers", `{"name":"corp","protocol":"oidc","issuer":"https://login.corp.example","client_id":"c","client_secret":"`+client+`"}`)

			base := "http://" + g.Server.ConsoleAddr().String()
			user := a.do("POST", "/tenants/default/users", `{"user_name":"ada","name":"Ada","active":true}`)["id"].(string)
			a.do("POST", "/tenants/default/bindings", `{"subject_kind":"user","subject":"`+user+`","role":"owner"}`)
			_, link, _ := strings.Cut(a.do("POST", "/tenants/default/users/"+user+"/invite", "")["link"].(string), "#")
			add("link", link)
			b := newBrowser(t, base)
			ticket := add("ticket", b.must(200, "POST", "/signin/link", `{"link":"`+link+`","password":"`+password+`"}`)["ticket"].(string))
			seed := add("seed of the authenticator", b.must(200, "POST", "/signin/enrol", `{"ticket":"`+ticket+`"}`)["seed"].(string))
			done := b.must(200, "POST", "/signin/confirm", `{"ticket":"`+ticket+`","code":"`+oathtool(t, seed, "now")+`"}`)
			for i, c := range done["recovery"].([]any) {
				add(fmt.Sprint("recovery code ", i), c.(string))
				add(fmt.Sprint("recovery code, plain ", i), strings.ReplaceAll(c.(string), "-", ""))
			}
			for _, c := range b.c.Jar.Cookies(mustURL(t, base)) {
				add("cookie "+c.Name, c.Value)
			}
			b.must(401, "POST", "/signin", `{"user_name":"ada","password":"wrong horse"}`)
			add("a wrong password", "wrong horse")

			// Used, refused, mistyped, sent where it does not belong.
			left := map[string][]byte{}
			for what, r := range map[string]request{
				"a call": chat(question).with("Authorization", "Bearer "+rotated), "a key with a model that is not": chat(`{"model":"","messages":[]}`).with("Authorization", "Bearer "+rotated),
				"a damaged key": chat(question).with("Authorization", "Bearer "+rotated+"x"), "a provider's key": chat(question).with("Authorization", "Bearer "+sealed), "no JSON": chat(`{`).with("Authorization", "Bearer "+rotated),
				"two keys": chat(question).with("Authorization", "Bearer "+rotated).with("X-Api-Key", key),
			} {
				res := do(t, g.URL, r)
				left["answer to "+what] = append(res.body, fmt.Sprint(res.header)...)
			}
			for _, k := range hashes(t, cfgOf(t, g)) {
				for _, guess := range []string{k.Current, k.Previous} {
					if guess == "" {
						continue
					}
					if res := do(t, g.URL, chat(question).with("Authorization", "Bearer sp_live_"+k.ID+"_"+guess)); res.status != http.StatusUnauthorized {
						t.Errorf("a hash of the database is taken as a key: %d", res.status)
					}
				}
			}
			for _, s := range up.Seen() {
				if strings.Contains(fmt.Sprint(s.Header)+string(s.Body), strings.Split(rotated, "_")[3]) {
					t.Error("a key of the gateway went to the provider")
				}
			}
			left["record"] = []byte(g.Record())
			var file bytes.Buffer
			if _, err := server.Backup(t.Context(), cfgOf(t, g), &file); err != nil {
				t.Fatal(err)
			}
			left["backup"] = file.Bytes()
			for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/vars", "/healthz", "/admin/v1/openapi.json"} {
				for _, at := range []string{g.URL, base} {
					if res, err := http.Get(at + path); err == nil {
						body, _ := io.ReadAll(res.Body)
						_ = res.Body.Close()
						left[at+path] = body
					}
				}
			}
			if engine == "postgres" {
				dump, err := pg.Dump(t, dsn)
				if err != nil {
					t.Fatal(err)
				}
				left["dump"] = dump
			}
			stacks := make([]byte, 8<<20) // what SIGQUIT and a panic print
			left["stacks"] = stacks[:runtime.Stack(stacks, true)]
			var profile bytes.Buffer
			if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
				t.Fatal(err)
			}
			left["profile"] = profile.Bytes()
			left["log"] = bytes.Clone(g.Log.Bytes())
			g.Close()
			err := filepath.Walk(g.Dir, func(path string, info os.FileInfo, err error) error {
				if err != nil || !info.Mode().IsRegular() {
					return err
				}
				text, err := os.ReadFile(path)
				left["file "+filepath.Base(path)] = text
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			total := 0
			for where, text := range left {
				total += len(text)
				for what, s := range secrets {
					for how, e := range encodings(s) {
						if len(e) >= 6 && bytes.Contains(text, e) {
							t.Errorf("%s: the %s, %s", where, what, how)
						}
					}
				}
			}
			t.Logf("%d secrets in 6 encodings looked for in %d places, %d bytes", len(secrets), len(left), total)
		})
	}
}
