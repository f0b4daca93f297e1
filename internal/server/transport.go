package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/proxy/dial"
)

// newTransport makes the client side of one upstream. It never decompresses, follows a redirect or
// uses a proxy from the environment, and dials only through the guarded dialer.
func newTransport(u config.Upstream, private []netip.Prefix) (*http.Transport, error) {
	t := &http.Transport{
		DialContext:            dial.New(dial.Options{AllowPrivate: private, Timeout: u.Timeouts.Dial}).DialContext,
		TLSHandshakeTimeout:    u.Timeouts.TLS,
		ResponseHeaderTimeout:  u.Timeouts.ResponseHeader,
		DisableCompression:     true,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    512,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		Protocols:              new(http.Protocols),
	}
	switch u.Protocol {
	case config.ProtocolH2C:
		t.Protocols.SetUnencryptedHTTP2(true)
	case config.ProtocolH1:
		t.Protocols.SetHTTP1(true)
	default:
		t.Protocols.SetHTTP1(true)
		t.Protocols.SetHTTP2(true)
	}
	if u.CAFile != "" {
		pem, err := os.ReadFile(u.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read ca_file of upstream %s: %w", u.Name, err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file of upstream %s holds no PEM certificate", u.Name)
		}
	}
	return t, nil
}
