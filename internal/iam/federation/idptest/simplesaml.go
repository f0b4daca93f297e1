package idptest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const simpleSAML = "/usr/share/simplesamlphp"

// SimpleSAML is SimpleSAMLphp as an identity provider with one person, ada, whose password is "right"
// and whose groups are "staff" and "admins & owners".
type SimpleSAML struct {
	t    testing.TB
	port int
	dir  string
}

// StartSimpleSAML runs one until the test ends. services is what it knows of service providers, as PHP.
func StartSimpleSAML(t testing.TB, services string) *SimpleSAML {
	t.Helper()
	if _, err := exec.LookPath("php"); err != nil {
		Missing(t, "php is not installed")
	}
	if _, err := os.Stat(simpleSAML); err != nil {
		Missing(t, "SimpleSAMLphp is not installed")
	}
	s := &SimpleSAML{t: t, port: Port(t), dir: t.TempDir()}
	for _, d := range []string{"config", "metadata", "cert", "log", "data", "tmp", "sessions"} {
		if err := os.Mkdir(filepath.Join(s.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.Rotate()
	s.write("config/config.php", `<?php
$config = [
  'baseurlpath' => '@URL/', 'certdir' => '@DIR/cert/', 'loggingdir' => '@DIR/log/', 'datadir' => '@DIR/data/', 'tempdir' => '@DIR/tmp',
  'metadatadir' => '@DIR/metadata', 'metadata.sources' => [['type' => 'flatfile']],
  'secretsalt' => 'a salt of the test', 'auth.adminpassword' => 'a password of the test', 'timezone' => 'UTC',
  'logging.handler' => 'errorlog', 'logging.level' => SimpleSAML\Logger::WARNING, 'showerrors' => true, 'errorreporting' => false,
  'enable.saml20-idp' => true, 'module.enable' => ['exampleauth' => true, 'core' => true, 'saml' => true],
  'session.cookie.secure' => false, 'session.cookie.samesite' => null, 'session.phpsession.savepath' => '@DIR/sessions', 'session.duration' => 28800,
  'store.type' => 'phpsession', 'language.available' => ['en'], 'language.default' => 'en', 'language.cookie.secure' => false, 'language.cookie.samesite' => null,
  'theme.use' => 'default', 'production' => true, 'authproc.idp' => [], 'authproc.sp' => [],
];`)
	s.write("config/authsources.php", `<?php
$config = ['people' => ['exampleauth:UserPass', 'ada:right' => [
  'uid' => ['ada-1'], 'displayName' => ['Ada Lovelace'], 'mail' => ['ada@example.test'], 'groups' => ['staff', 'admins & owners'], 'department' => ['R&D'],
]]];`)
	s.write("metadata/saml20-idp-hosted.php", `<?php
$metadata['@URL/idp'] = ['host' => '__DEFAULT__', 'privatekey' => 'idp.key', 'certificate' => 'idp.crt', 'auth' => 'people', 'NameIDFormat' => 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent',
  'authproc' => [1 => ['class' => 'saml:PersistentNameID', 'attribute' => 'uid']]];`)
	s.write("metadata/saml20-sp-remote.php", "<?php\n"+services)
	cmd := exec.Command("php", "-d", "error_reporting=6143", "-d", "display_errors=0", "-S", fmt.Sprint("127.0.0.1:", s.port), "-t", simpleSAML+"/www")
	cmd.Env = append(os.Environ(), "SIMPLESAMLPHP_CONFIG_DIR="+s.dir+"/config")
	Start(t, s.URL()+"/saml2/idp/metadata.php?output=xhtml", cmd)
	return s
}

// URL is its address; its entity id is that and "/idp".
func (s *SimpleSAML) URL() string { return Local(s.port) }

func (s *SimpleSAML) write(name, text string) {
	s.t.Helper()
	text = strings.NewReplacer("@URL", s.URL(), "@DIR", s.dir).Replace(text)
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// Rotate gives it a new key.
func (s *SimpleSAML) Rotate() {
	s.t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		s.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		s.t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("cert/idp.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	s.write("cert/idp.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
}

// Metadata is what it says of itself.
func (s *SimpleSAML) Metadata() []byte {
	s.t.Helper()
	res, err := http.Get(s.URL() + "/saml2/idp/metadata.php")
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("%v: %s", err, raw)
	}
	return raw
}
