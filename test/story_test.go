package test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// story is a failer.
type story struct{ *testscript.TestScript }

func (story) Helper()          {}
func (s story) Fatal(a ...any) { s.Fatalf("%s", fmt.Sprintln(a...)) }

// asks LINK METHOD PATH [BODY]: somebody signs in at $CONSOLE with a one-time link, a password and an
// authenticator, and asks for what then waits for a second person: APPROVAL is its id.
func asks(ts *testscript.TestScript, _ bool, args []string) {
	b := newBrowser(story{ts}, "http://"+ts.Getenv("CONSOLE"))
	_, link, _ := strings.Cut(args[0], "#")
	ticket := b.must(200, "POST", "/signin/link", `{"link":"`+link+`","password":"a walk along the quay, once"}`)["ticket"].(string)
	seed := b.must(200, "POST", "/signin/enrol", `{"ticket":"`+ticket+`"}`)["seed"].(string)
	b.must(200, "POST", "/signin/confirm", `{"ticket":"`+ticket+`","code":"`+code(ts, seed)+`"}`)
	body := ""
	if len(args) > 3 {
		body = args[3]
	}
	ts.Setenv("APPROVAL", b.must(202, args[1], args[2], body)["approval"].(string))
}

// code is what an authenticator shows now (RFC 6238).
func code(ts *testscript.TestScript, seed string) string {
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(seed, "="))
	ts.Check(err)
	m := hmac.New(sha1.New, key)
	ts.Check(binary.Write(m, binary.BigEndian, uint64(time.Now().Unix()/30)))
	sum := m.Sum(nil)
	at := sum[len(sum)-1] & 15
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[at:])&0x7fffffff%1_000_000)
}

// shadowsees N waits until the shadow has found N verdicts that differ.
func shadowSees(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	poll(ts, "the shadow", func() bool {
		files, _ := filepath.Glob(ts.MkAbs("data/shadow/*/changes.jsonl"))
		n := 0
		for _, f := range files {
			b, _ := os.ReadFile(f)
			n += bytes.Count(b, []byte("\n"))
		}
		return n >= want
	})
}
