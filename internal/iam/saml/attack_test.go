package saml

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
	"golang.org/x/mod/semver"

	"sallyport.dev/sallyport/internal/iam/federation"
)

// evil makes an assertion somebody else's: the root of all that a wrapping attack wants.
func evil(a *etree.Element) *etree.Element {
	e := a.Copy()
	e.FindElement("./Subject/NameID").SetText("root")
	e.CreateAttr("ID", "_evil")
	return e
}

func unsigned(a *etree.Element) *etree.Element {
	e := a.Copy()
	if s := e.FindElement("./Signature"); s != nil {
		e.RemoveChild(s)
	}
	return e
}

// Signature wrapping: the signed assertion is somewhere in the document, and another one stands
// where the reader looks. These are the eight of SAMLRaider, which are those of "On Breaking SAML",
// and further places to hide in. Each is built of a response that was really signed.
func TestSignatureWrapping(t *testing.T) {
	type attack func(root, a, sig *etree.Element)
	attacks := map[string]attack{
		"XSW1: the response within the signature of a copy": func(root, _, _ *etree.Element) {
			original := root.Copy()
			sig := root.FindElement("./Signature")
			original.RemoveChild(original.FindElement("./Signature"))
			root.CreateAttr("ID", "_evilr")
			replace(root.FindElement("./Assertion"), evil)
			sig.AddChild(original)
		},
		"XSW2: the response before its signature in a copy": func(root, _, _ *etree.Element) {
			original := root.Copy()
			sig := root.FindElement("./Signature")
			original.RemoveChild(original.FindElement("./Signature"))
			root.CreateAttr("ID", "_evilr")
			replace(root.FindElement("./Assertion"), evil)
			root.InsertChildAt(sig.Index(), original)
		},
		"XSW3: an assertion before the signed one": func(root, a, _ *etree.Element) { root.InsertChildAt(a.Index(), unsigned(evil(a))) },
		"XSW3b: an assertion after the signed one": func(root, a, _ *etree.Element) { root.AddChild(unsigned(evil(a))) },
		"XSW4: the signed one within another": func(root, a, _ *etree.Element) {
			e := unsigned(evil(a))
			root.RemoveChild(a)
			e.AddChild(a)
			root.AddChild(e)
		},
		"XSW5: changed, with the signature; the original after it": func(root, a, _ *etree.Element) {
			original := unsigned(a)
			replace(a, evil)
			root.AddChild(original)
		},
		"XSW6: changed; the original within its signature": func(_, a, _ *etree.Element) {
			original := unsigned(a)
			replace(a, func(a *etree.Element) *etree.Element {
				e := evil(a)
				e.FindElement("./Signature").AddChild(original)
				return e
			})
		},
		"XSW7: within Extensions": func(root, a, _ *etree.Element) {
			x := etree.NewElement("samlp:Extensions")
			x.AddChild(unsigned(evil(a)))
			root.InsertChildAt(1, x)
		},
		"XSW8: changed; the original in an Object of its signature": func(_, a, _ *etree.Element) {
			original := unsigned(a)
			replace(a, func(a *etree.Element) *etree.Element {
				e := evil(a)
				e.FindElement("./Signature").CreateElement("ds:Object").AddChild(original)
				return e
			})
		},
		"XSW9: one id for both": func(root, a, _ *etree.Element) {
			e := unsigned(evil(a))
			e.CreateAttr("ID", id(a))
			root.InsertChildAt(a.Index(), e)
		},
		"the original in the status": func(root, a, _ *etree.Element) {
			e := unsigned(evil(a))
			sig := a.FindElement("./Signature").Copy()
			root.RemoveChild(a)
			root.FindElement("./Status").CreateElement("samlp:StatusDetail").AddChild(a)
			e.InsertChildAt(1, sig)
			root.AddChild(e)
		},
		"the original in Advice": func(root, a, _ *etree.Element) {
			e := evil(a)
			root.RemoveChild(a)
			e.CreateElement("saml:Advice").AddChild(a)
			root.AddChild(e)
		},
		"the signature beside the assertion": func(root, a, sig *etree.Element) {
			replace(a, func(a *etree.Element) *etree.Element { return unsigned(evil(a)) })
			root.InsertChildAt(1, sig)
		},
		"two signatures": func(_, a, sig *etree.Element) { a.AddChild(sig.Copy()) },
		"the signature is about nothing": func(_, a, sig *etree.Element) {
			sig.FindElement("./SignedInfo/Reference").CreateAttr("URI", "")
		},
		"the signature is about the response": func(root, a, sig *etree.Element) {
			sig.FindElement("./SignedInfo/Reference").CreateAttr("URI", "#"+id(root))
		},
		"two references": func(_, a, sig *etree.Element) {
			info := sig.FindElement("./SignedInfo")
			info.AddChild(info.FindElement("./Reference").Copy())
		},
		"two SignedInfo":       func(_, a, sig *etree.Element) { sig.InsertChildAt(0, sig.FindElement("./SignedInfo").Copy()) },
		"another Id attribute": func(_, a, _ *etree.Element) { a.FindElement("./Subject").CreateAttr("Id", id(a)) },
		"a transform that leaves something out": func(_, a, sig *etree.Element) {
			tr := sig.FindElement("./SignedInfo/Reference/Transforms").CreateElement("ds:Transform")
			tr.CreateAttr("Algorithm", "http://www.w3.org/TR/1999/REC-xpath-19991116")
		},
		"canonicalised with comments": func(_, a, sig *etree.Element) {
			sig.FindElement("./SignedInfo/CanonicalizationMethod").CreateAttr("Algorithm", dsig.CanonicalXML10ExclusiveWithCommentsAlgorithmId.String())
		},
		"an assertion without a namespace": func(root, a, _ *etree.Element) {
			e := unsigned(evil(a))
			e.Space = ""
			root.InsertChildAt(a.Index(), e)
		},
		"changed where it stands": func(_, a, _ *etree.Element) { a.FindElement("./Subject/NameID").SetText("root") },
		"a group more": func(_, a, _ *etree.Element) {
			a.FindElement("./AttributeStatement/Attribute[@Name='groups']").CreateElement("saml:AttributeValue").SetText("root")
		},
		"a response within": func(root, _, _ *etree.Element) { root.AddChild(root.Copy()) },
		"the assertion alone": func(root, a, _ *etree.Element) {
			*root = *a.Copy()
		},
	}
	for name, f := range attacks {
		for _, whole := range []bool{false, true} {
			if strings.HasPrefix(name, "XSW1") || strings.HasPrefix(name, "XSW2") {
				if !whole {
					continue // they wrap a signed response
				}
			}
			t.Run(fmt.Sprintf("%s, response signed %v", name, whole), func(t *testing.T) {
				r := newRig(t)
				p, req := r.begin(federation.Ask{})
				good := said{rig: r, request: id(req), whole: whole}.xml()
				doc := read(t, good)
				a := doc.Root().FindElement("./Assertion")
				f(doc.Root(), a, a.FindElement("./Signature"))
				if bytes.Equal(write(t, doc), good) {
					t.Fatal("nothing was changed")
				}
				_, err := r.finish(write(t, doc), p.Cookie)
				refused(t, err)
				// The same response as it was is good: it was this that was refused, and nothing was spent.
				if _, err := r.finish(good, p.Cookie); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func replace(el *etree.Element, by func(*etree.Element) *etree.Element) {
	parent, at := el.Parent(), el.Index()
	n := by(el)
	parent.RemoveChildAt(at)
	parent.InsertChildAt(at, n)
}

// What is signed, but wrongly or by somebody else.
func TestSignaturesRefused(t *testing.T) {
	r := newRig(t)
	for name, c := range map[string]struct {
		f   func(*said)
		why string
	}{
		"unsigned":              {func(s *said) { s.unsigned = true }, "not signed"},
		"only the response":     {func(s *said) { s.unsigned, s.whole = true, true }, "not signed"},
		"another key":           {func(s *said) { s.by = keys().evil }, "signature is wrong"},
		"SHA-1":                 {func(s *said) { s.method = dsig.RSASHA1SignatureMethod }, "not accepted"},
		"another key, our cert": {func(s *said) { s.by = signer{keys().evil.key, keys().good.cert} }, "signature is wrong"},
		"SHA-1 of ECDSA":        {func(s *said) { s.by, s.method = keys().ec, dsig.ECDSASHA1SignatureMethod }, "not accepted"},
		"response by another":   {func(s *said) { s.response = func(el *etree.Element) { keys().evil.sign(t, el, "") } }, "the response: its signature is wrong"},
		"response unsigned part": {func(s *said) {
			s.response = func(el *etree.Element) { keys().good.sign(t, el, ""); el.CreateAttr("Consent", "x") }
		}, "the response: its signature is wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.signIn(federation.Ask{}, c.f)
			refused(t, err, c.why)
		})
	}
	// A certificate that has ended verifies nothing, and one that is not configured neither.
	r = newRig(t, func(o *Options) {
		o.IdP.Certificates[0] = keys().ended.cert
		o.IdP.Certificates = o.IdP.Certificates[:1]
	})
	_, err := r.signIn(federation.Ask{}, nil)
	refused(t, err, "ended")
}

// SHA-1 of what is signed, under a good signature.
func TestSHA1Digest(t *testing.T) {
	r := newRig(t)
	p, req := r.begin(federation.Ask{})
	doc := read(t, said{rig: r, request: id(req)}.xml())
	doc.FindElement("//DigestMethod").CreateAttr("Algorithm", "http://www.w3.org/2000/09/xmldsig#sha1")
	_, err := r.finish(write(t, doc), p.Cookie)
	refused(t, err, "digest algorithm")
}

// What a signed assertion says: each differs from a good one in one thing.
func TestAssertionsRefused(t *testing.T) {
	set := func(path, name, value string) func(*etree.Element) {
		return func(a *etree.Element) {
			el := a
			if path != "" {
				el = a.FindElement(path)
			}
			if value == "" {
				el.RemoveAttr(name)
			} else {
				el.CreateAttr(name, value)
			}
		}
	}
	at := func(d time.Duration) string { return noon.Add(d).Format(samlTime) }
	drop := func(path string) func(*etree.Element) {
		return func(a *etree.Element) { e := a.FindElement(path); e.Parent().RemoveChild(e) }
	}
	const data = "./Subject/SubjectConfirmation/SubjectConfirmationData"
	for name, f := range map[string]func(*etree.Element){
		"version":                set("", "Version", "1.1"),
		"issued in the future":   set("", "IssueInstant", at(time.Minute)),
		"issued at no time":      set("", "IssueInstant", "yesterday"),
		"issued in another zone": set("", "IssueInstant", "2026-03-01T13:00:00+01:00"),
		"issuer":                 func(a *etree.Element) { a.FindElement("./Issuer").SetText("https://evil.test") },
		"no issuer":              drop("./Issuer"),
		"audience":               func(a *etree.Element) { a.FindElement("./Conditions/AudienceRestriction/Audience").SetText(spID + "2") },
		"audience, prefix":       func(a *etree.Element) { a.FindElement("./Conditions/AudienceRestriction/Audience").SetText(spID + "/") },
		"no audience":            drop("./Conditions/AudienceRestriction"),
		"a second restriction": func(a *etree.Element) {
			a.FindElement("./Conditions").CreateElement("saml:AudienceRestriction").CreateElement("saml:Audience").SetText("other")
		},
		"unknown condition":        func(a *etree.Element) { a.FindElement("./Conditions").CreateElement("saml:Condition") },
		"no conditions":            drop("./Conditions"),
		"two conditions":           func(a *etree.Element) { a.AddChild(a.FindElement("./Conditions").Copy()) },
		"expired":                  set("./Conditions", "NotOnOrAfter", at(-time.Minute)),
		"no end":                   set("./Conditions", "NotOnOrAfter", ""),
		"not valid yet":            set("./Conditions", "NotBefore", at(time.Minute)),
		"recipient":                set(data, "Recipient", "https://evil.test/acs"),
		"recipient, prefix":        set(data, "Recipient", acsURL+"/x"),
		"no recipient":             set(data, "Recipient", ""),
		"another request":          set(data, "InResponseTo", "_other"),
		"no request":               set(data, "InResponseTo", ""),
		"confirmation expired":     set(data, "NotOnOrAfter", at(-time.Minute)),
		"confirmation without end": set(data, "NotOnOrAfter", ""),
		"confirmation later":       set(data, "NotBefore", at(-time.Hour)),
		"another confirmation":     set("./Subject/SubjectConfirmation", "Method", "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches"),
		"no confirmation":          drop("./Subject/SubjectConfirmation"),
		"no subject":               drop("./Subject"),
		"no authentication":        drop("./AuthnStatement"),
		"authenticated at no time": set("./AuthnStatement", "AuthnInstant", ""),
		"session over":             set("./AuthnStatement", "SessionNotOnOrAfter", at(-time.Minute)),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newRig(t).signIn(federation.Ask{}, func(s *said) { s.assert = f })
			refused(t, err)
			if strings.Contains(err.Error(), "signature") {
				t.Errorf("it was refused for another reason: %v", err)
			}
		})
	}
}

// What stands around the assertion.
func TestResponsesRefused(t *testing.T) {
	status := func(el *etree.Element) *etree.Element { return el.FindElement("./Status/StatusCode") }
	for name, f := range map[string]func(*etree.Element){
		"destination":     func(el *etree.Element) { el.CreateAttr("Destination", "https://evil.test/acs") },
		"no destination":  func(el *etree.Element) { el.RemoveAttr("Destination") },
		"another request": func(el *etree.Element) { el.CreateAttr("InResponseTo", "_other") },
		"not asked for":   func(el *etree.Element) { el.RemoveAttr("InResponseTo") },
		"issuer":          func(el *etree.Element) { el.FindElement("./Issuer").SetText("https://evil.test") },
		"two issuers":     func(el *etree.Element) { el.AddChild(el.FindElement("./Issuer").Copy()) },
		"status": func(el *etree.Element) {
			status(el).CreateAttr("Value", "urn:oasis:names:tc:SAML:2.0:status:Responder")
		},
		"no status":        func(el *etree.Element) { el.RemoveChild(el.FindElement("./Status")) },
		"two statuses":     func(el *etree.Element) { el.AddChild(el.FindElement("./Status").Copy()) },
		"version":          func(el *etree.Element) { el.CreateAttr("Version", "1.0") },
		"not a response":   func(el *etree.Element) { el.Tag = "LogoutResponse" },
		"another language": func(el *etree.Element) { el.CreateAttr("xmlns:samlp", "urn:oasis:names:tc:SAML:1.0:protocol") },
		"no assertion":     func(el *etree.Element) { el.RemoveChild(el.FindElement("./Assertion")) },
		"encrypted": func(el *etree.Element) {
			el.RemoveChild(el.FindElement("./Assertion"))
			el.CreateElement("saml:EncryptedAssertion")
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newRig(t).signIn(federation.Ask{}, func(s *said) { s.response = f })
			refused(t, err)
			if name == "encrypted" {
				refused(t, err, "encrypted, which is not supported")
			}
		})
	}
}

// A comment in a name has some readers see the first part only: user@corp.test<!-- -->.evil.test.
// It does not change what is signed (CVE-2017-11427, CVE-2018-0489).
func TestCommentTruncation(t *testing.T) {
	r := newRig(t)
	for _, in := range []string{"u-1<!-- -->2", "<!---->u-12", "u-1<![CDATA[2]]>", "u-1<?x y?>2"} {
		p, req := r.begin(federation.Ask{})
		good := said{rig: r, request: id(req), assert: func(a *etree.Element) { a.FindElement("./Subject/NameID").SetText("u-12") }}.xml()
		bad := bytes.Replace(good, []byte(">u-12<"), []byte(">"+in+"<"), 1)
		if bytes.Equal(good, bad) {
			t.Fatal("nothing was changed")
		}
		_, err := r.finish(bad, p.Cookie)
		refused(t, err)
		if s, err := r.finish(good, p.Cookie); err != nil || s.Subject != "u-12" {
			t.Errorf("%+v, %v", s, err)
		}
	}
}

func TestDocumentsRefused(t *testing.T) {
	r := newRig(t)
	p, req := r.begin(federation.Ask{})
	good := string(said{rig: r, request: id(req)}.xml())
	laughs := `<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "` + strings.Repeat("&lol;", 10) + `"><!ENTITY lol3 "` + strings.Repeat("&lol2;", 10) + `">]>`
	began := time.Now()
	for name, doc := range map[string]string{
		"empty":                       "",
		"nonsense":                    "x",
		"cut":                         good[:len(good)-20],
		"a DTD":                       "<!DOCTYPE samlp:Response>" + good,
		"billion laughs":              laughs + strings.Replace(good, ">u-1<", ">&lol3;<", 1),
		"external entity":             `<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>` + strings.Replace(good, ">u-1<", ">&x;<", 1),
		"DTD in lower case":           "<!doctype x>" + good,
		"a comment outside":           good + "<!-- -->",
		"an instruction":              `<?xml-stylesheet href="x"?>` + good,
		"version 1.1":                 `<?xml version="1.1"?>` + good,
		"UTF-7":                       `<?xml version="1.0" encoding="utf-7"?>` + good,
		"UTF-16":                      "\xff\xfe" + good,
		"bad UTF-8":                   strings.Replace(good, ">u-1<", ">u-1\xff<", 1),
		"two roots":                   good + good,
		"text after":                  good + "x",
		"text before":                 "x" + good,
		"deep":                        strings.Repeat("<a>", 40) + strings.Repeat("</a>", 40),
		"wide":                        "<a>" + strings.Repeat("<b/>", maxElements) + "</a>",
		"many attributes":             "<a" + attributes(maxAttributes+1) + "/>",
		"attribute twice":             strings.Replace(good, ` Version="2.0"`, ` Version="2.0" Version="2.0"`, 1),
		"prefix unbound":              strings.Replace(good, "samlp:Response", "other:Response", 2),
		"attribute, no prefix":        strings.Replace(good, "<saml:Issuer>", "<saml:Issuer :x='y'>", 1),
		"attribute, no name":          strings.Replace(good, "<saml:Issuer>", "<saml:Issuer x:='y'>", 1),
		"element, no prefix":          strings.ReplaceAll(good, "saml:Issuer", ":Issuer"),
		"two colons":                  strings.ReplaceAll(good, "saml:Issuer", "saml::Issuer"),
		"prefix undeclared":           strings.ReplaceAll(good, "saml:Issuer", "aml:Issuer"),
		"attribute undeclared":        strings.Replace(good, "<saml:Issuer>", "<saml:Issuer x:y='y'>", 1),
		"xml declared":                strings.Replace(good, "<saml:Issuer>", "<saml:Issuer xmlns:xml='y'>", 1),
		"xmlns declared":              strings.Replace(good, "<saml:Issuer>", "<saml:Issuer xmlns:xmlns='y'>", 1),
		"prefix taken back":           strings.Replace(good, "<saml:Issuer>", "<saml:Issuer xmlns:samlp=''>", 1),
		"one attribute, two prefixes": strings.Replace(good, "<saml:Issuer>", "<saml:Issuer xmlns:p='u:x' xmlns:q='u:x' p:i='1' q:i='2'>", 1),
		"1,001 elements":              strings.Replace(good, "<samlp:Status>", strings.Repeat("<x/>", 1001)+"<samlp:Status>", 1),
		"5 MB":                        strings.Replace(good, "<samlp:Status>", "<samlp:Status>"+strings.Repeat(" ", 5<<20), 1),
		"300 KB":                      strings.Replace(good, "<samlp:Status>", "<samlp:Status>"+strings.Repeat(" ", 300<<10), 1),
	} {
		t.Run(name, func(t *testing.T) {
			if doc == good {
				t.Fatal("nothing was changed")
			}
			_, err := r.finish([]byte(doc), p.Cookie)
			refused(t, err)
		})
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("refusing took %v", d)
	}
	if _, err := r.Finish(t.Context(), "@", p.Cookie); err == nil {
		t.Error("not base64")
	}
	for _, decl := range []string{"", `<?xml version="1.0"?>`, `<?xml version='1.0' encoding='utf-8' standalone='yes'?>`, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"} {
		r := newRig(t)
		p, req := r.begin(federation.Ask{})
		if _, err := r.finish(append([]byte(decl), said{rig: r, request: id(req)}.xml()...), p.Cookie); err != nil {
			t.Errorf("%s: %v", decl, err)
		}
	}
}

func attributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ` a%d="x"`, i)
	}
	return b.String()
}

// A response is for the sign-in that this browser began at this provider, once.
func TestResponseBelongsToTheBrowser(t *testing.T) {
	r := newRig(t)
	mallory, his := r.begin(federation.Ask{})
	victim, _ := r.begin(federation.Ask{})
	good := said{rig: r, request: id(his)}.xml()
	_, err := r.finish(good, victim.Cookie)
	refused(t, err, "not for the sign-in of this browser")
	_, err = r.finish(good, "") // begun by the provider, or by somebody else
	refused(t, err, "began no sign-in")
	other := newRig(t, func(o *Options) { o.Name, o.Once = "other", r.o.Once })
	_, err = other.finish(good, mallory.Cookie)
	refused(t, err, "another provider")
	var wg sync.WaitGroup
	var n atomic.Int32
	for range 8 {
		wg.Go(func() {
			if _, err := r.finish(good, mallory.Cookie); err == nil {
				n.Add(1)
			}
		})
	}
	wg.Wait()
	if n.Load() != 1 {
		t.Errorf("it was good for %d sign-ins", n.Load())
	}
	// Too late.
	p, req := r.begin(federation.Ask{})
	r.clock.add(federation.Patience)
	_, err = r.finish(said{rig: r, request: id(req)}.xml(), p.Cookie)
	refused(t, err, "too long")
}

// The assertion itself is spent, and not only the sign-in: here a second sign-in has the same
// request id, as after a fault in the random numbers.
func TestAssertionReplay(t *testing.T) {
	r := newRig(t)
	seal := func() string {
		l, err := federation.NewLogin(federation.Ask{}, r.clock.now())
		if err != nil {
			t.Fatal(err)
		}
		l.Request = "_same"
		c, err := r.o.Sealer.Seal(protocol, "corp", l)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	doc := said{rig: r, request: "_same"}.xml()
	if _, err := r.finish(doc, seal()); err != nil {
		t.Fatal(err)
	}
	_, err := r.finish(doc, seal())
	refused(t, err, "used before")
}

type away struct{}

func (away) First(context.Context, string, time.Time) (bool, error) { return true, errors.New("away") }

func TestMemoryAway(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Once = away{} })
	_, err := r.signIn(federation.Ask{}, nil)
	var ref *federation.Refusal
	if err == nil || errors.As(err, &ref) {
		t.Errorf("expected a failure, not %v", err)
	}
}

// goxmldsig before 1.6.0 can be led past a signature (CVE-2026-33487, GHSA-479m-364c-43vc). The
// module's own go.mod decides which is linked, against what other modules ask for.
func TestSignatureLibraryIsNotOld(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}{{with .Replace}} replaced{{end}}", "github.com/russellhaering/goxmldsig").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	v := strings.TrimSpace(string(out))
	if semver.Compare(v, "v1.6.0") < 0 || !semver.IsValid(v) {
		t.Fatalf("goxmldsig %s is linked; expected v1.6.0 or later", v)
	}
}
