package saml

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/internal/iam/federation"
)

// What the fuzzer begins with is the same in every process, its workers included: keys, certificates, signatures
// and numbers. Otherwise what one of them found would mean nothing to another, or to whoever reads its corpus.
func TestTheFuzzerBeginsWithTheSame(t *testing.T) {
	sum := sha256.New()
	for _, c := range []signer{keys().good, keys().evil, keys().ec, keys().ended} {
		sum.Write(c.cert.Raw)
	}
	serial.Store(0)
	sum.Write(said{rig: newRig(t), request: "_same", by: keys().ec, whole: true}.xml())
	if got := hex.EncodeToString(sum.Sum(nil)); got != "b057db5cc2968b5810dc9b8f34146f0d3d5faaeed35dea4e3a3cf12f073c3ebf" {
		t.Errorf("it is %s now; a change of the template or of a library changes it, and nothing else may", got)
	}
}

// Whatever is made of a response that was really signed: it is refused, or it says what was signed.
func FuzzResponse(f *testing.F) {
	serial.Store(0)
	r := newRig(f)
	l, err := federation.NewLogin(federation.Ask{}, noon)
	if err != nil {
		f.Fatal(err)
	}
	l.Request = "_same"
	cookie, err := r.o.Sealer.Seal(protocol, "corp", l)
	if err != nil {
		f.Fatal(err)
	}
	good := said{rig: r, request: "_same", by: keys().ec}.xml()
	want, err := r.finish(good, cookie)
	if err != nil {
		f.Fatal(err)
	}
	doc := read(f, good)
	a := doc.Root().FindElement("./Assertion")
	doc.Root().InsertChildAt(a.Index(), unsigned(evil(a)))
	for _, seed := range []string{
		string(good), string(write(f, doc)), string(said{rig: r, request: "_same", by: keys().ec, whole: true}.xml()),
		strings.Replace(string(good), ">u-1<", "><!-- -->u-1<", 1), "<!DOCTYPE x>" + string(good), `<?xml version="1.0"?>` + string(good), "<a/>", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		fresh := *r.Provider
		fresh.o.Once = federation.NewMemory(4, r.clock.now)
		got, err := fresh.Finish(t.Context(), base64.StdEncoding.EncodeToString([]byte(doc)), cookie)
		if err != nil {
			var ref *federation.Refusal
			if !errors.As(err, &ref) || !federation.Printable(ref.Reason, 500) {
				t.Fatalf("%q", err)
			}
			return
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("accepted %+v; signed was %+v", got, want)
		}
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add([]byte(describe(nil)))
	f.Add([]byte(`<?xml version="1.0" encoding="UTF-8"?><!-- x -->` + describe(nil)))
	f.Add([]byte(`<md:EntitiesDescriptor xmlns:md="` + nsMetadata + `">` + describe(nil) + `</md:EntitiesDescriptor>`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		idp, err := ParseMetadata(raw, "", noon)
		if err == nil && (idp.SSO == "" || len(idp.Certificates) == 0) {
			t.Fatalf("%+v", idp)
		}
	})
}

// describe is metadata as providers write it, changed.
func describe(change func(string) string) string {
	s := `<md:EntityDescriptor xmlns:md="` + nsMetadata + `" xmlns:ds="` + nsSignature + `" entityID="` + idpID + `" validUntil="2026-04-01T00:00:00Z"><!-- ours -->
  <md:IDPSSODescriptor protocolSupportEnumeration="` + nsProtocol + `">
    <md:KeyDescriptor use="signing"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>
      ` + base64.StdEncoding.EncodeToString(keys().good.cert.Raw) + `
    </ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>
    <md:KeyDescriptor use="encryption"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>` + base64.StdEncoding.EncodeToString(keys().evil.cert.Raw) + `</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>
    <md:SingleSignOnService Binding="` + bindingPOST + `" Location="https://idp.test/post"/>
    <md:SingleSignOnService Binding="` + bindingRedirect + `" Location="https://idp.test/redirect"/>
  </md:IDPSSODescriptor>
</md:EntityDescriptor>`
	if change != nil {
		s = change(s)
	}
	return s
}

func TestParseMetadata(t *testing.T) {
	idp, err := ParseMetadata([]byte(describe(nil)), idpID, noon)
	if err != nil || idp.EntityID != idpID || idp.SSO != "https://idp.test/redirect" || len(idp.Certificates) != 1 || !idp.Certificates[0].Equal(keys().good.cert) {
		t.Fatalf("%+v, %v", idp, err)
	}
	two := `<md:EntitiesDescriptor xmlns:md="` + nsMetadata + `">` + describe(nil) + describe(func(s string) string { return strings.Replace(s, idpID, "https://two.test", 1) }) + `</md:EntitiesDescriptor>`
	if idp, err = ParseMetadata([]byte(two), "https://two.test", noon); err != nil || idp.EntityID != "https://two.test" {
		t.Errorf("%+v, %v", idp, err)
	}
	replaced := func(old, by string) string {
		return describe(func(s string) string {
			n := strings.Replace(s, old, by, 1)
			if n == s {
				t.Fatalf("%s: nothing was changed", old)
			}
			return n
		})
	}
	for name, raw := range map[string]string{
		"two, none named":     two,
		"another is named":    replaced(idpID, "https://other.test") + " ",
		"no longer valid":     replaced("2026-04-01", "2026-02-01"),
		"valid until when":    replaced("2026-04-01T00:00:00Z", "soon"),
		"a DTD":               "<!DOCTYPE x>" + describe(nil),
		"an entity":           `<!DOCTYPE x [<!ENTITY e "x">]>` + describe(nil),
		"another protocol":    replaced(`Enumeration="`+nsProtocol, `Enumeration="urn:oasis:names:tc:SAML:1.1:protocol`),
		"no redirect":         replaced(bindingRedirect, bindingPOST),
		"no key to sign with": replaced(`use="signing"`, `use="encryption"`),
		"no certificate":      replaced(base64.StdEncoding.EncodeToString(keys().good.cert.Raw), "AAAA"),
		"no base64":           replaced(base64.StdEncoding.EncodeToString(keys().good.cert.Raw), "!"),
		"a comment within":    replaced("MII", "MI<!-- -->I"),
		"large":               describe(nil) + strings.Repeat(" ", maxMetadata),
		"no XML":              "{}",
	} {
		id := idpID
		if name == "two, none named" {
			id = ""
		}
		if idp, err := ParseMetadata([]byte(raw), id, noon); err == nil {
			t.Errorf("%s: %+v", name, idp)
		}
	}
}

func BenchmarkFinish(b *testing.B) {
	r := newRig(b)
	p, req := r.begin(federation.Ask{})
	doc := said{rig: r, request: id(req), whole: true}.xml()
	for b.Loop() {
		r.o.Once = federation.NewMemory(4, r.clock.now)
		if _, err := r.finish(doc, p.Cookie); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(doc)), "response-bytes")
}

func TestInstant(t *testing.T) {
	for s, ok := range map[string]bool{
		"2026-03-01T12:00:00Z": true, "2026-03-01T12:00:00.123Z": true, "2026-03-01T12:00:00+00:00": false, "2026-03-01T12:00:00": false, "": false, "2026-02-30T12:00:00Z": false,
	} {
		if got, is := instant(s); is != ok || ok && got.Truncate(time.Second) != noon {
			t.Errorf("%s: %v, %v", s, got, is)
		}
	}
}
