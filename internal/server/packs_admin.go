package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/inspect/detect"
	"sallyport.dev/sallyport/internal/inspect/pack"
	"sallyport.dev/sallyport/internal/proxy/dial"
)

// fetchTime bounds how long a pack may take to arrive.
const fetchTime = 2 * time.Minute

// ReadPack reads a pack from a file, a directory or an http(s) URL and verifies it under the keys that
// a configuration trusts. keys, when given, are trusted instead.
func ReadPack(ctx context.Context, cfg *config.Config, from string, keys ...string) (*pack.Pack, error) {
	if len(keys) == 0 {
		keys = cfg.Inspect.Packs.TrustedKeys
	}
	trust, err := pack.NewTrust(keys)
	if err != nil {
		return nil, fmt.Errorf("read trusted keys: %w", err)
	}
	var p *pack.Pack
	if scheme, _, ok := strings.Cut(from, "://"); ok {
		if scheme != "http" && scheme != "https" {
			return nil, errors.New("fetch pack: want an http or https URL")
		}
		var raw []byte
		if raw, err = fetch(ctx, cfg, from); err != nil {
			return nil, fmt.Errorf("fetch pack: %w", err)
		}
		p, err = pack.Open(raw, trust)
	} else {
		p, err = pack.Read(from, trust)
	}
	if errors.Is(err, pack.ErrUntrusted) && len(keys) == 0 {
		return nil, fmt.Errorf("read pack: %w: inspect.packs.trusted_keys is empty", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read pack: %w", err)
	}
	return p, nil
}

// fetch gets a pack as the gateway calls its upstreams: through the guarded dialer, without proxy,
// redirect or decompression, and bounded in size and time. The transport need not be trusted: the
// signature is checked afterwards.
func fetch(ctx context.Context, cfg *config.Config, from string) ([]byte, error) {
	u, err := url.Parse(from)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" {
		return nil, errors.New("want an http or https URL without user name")
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	t := &http.Transport{
		DialContext:            dial.New(dial.Options{AllowPrivate: cfg.Proxy.AllowPrivate, Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		DisableCompression:     true,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	defer t.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, errors.New("want an http or https URL")
	}
	req.Header.Set("User-Agent", "sallyport")
	res, err := t.RoundTrip(req) // not a Client: a redirect is an answer like any other
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the answer's status is %d; redirects are not followed", res.StatusCode)
	case res.Header.Get("Content-Encoding") != "":
		return nil, errors.New("the answer is encoded; want the pack as it is")
	case res.ContentLength > pack.MaxBytes:
		return nil, fmt.Errorf("%w: more than %d bytes", pack.ErrTooLarge, pack.MaxBytes)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, pack.MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > pack.MaxBytes {
		return nil, fmt.Errorf("%w: more than %d bytes", pack.ErrTooLarge, pack.MaxBytes)
	}
	return b, nil
}

// TryPack tries a verified pack's examples on the engine of this build.
func TryPack(p *pack.Pack) error {
	_, err := pack.Load(p, alone, Version())
	return err
}

// InstallPack installs a pack from a file, a directory, a URL, or, by its id, one that is stored. With
// activate it becomes the active one; a running gateway notices.
func InstallPack(ctx context.Context, cfg *config.Config, from string, activate bool) (pack.Change, error) {
	store, err := fitting(cfg)
	if err != nil {
		return pack.Change{}, err
	}
	if pack.ValidID(from) {
		if !activate {
			return pack.Change{}, fmt.Errorf("install pack: want a file, a directory or a URL")
		}
		c, err := store.Activate(from)
		if err != nil {
			return c, fmt.Errorf("activate: %w", err)
		}
		return c, nil
	}
	p, err := ReadPack(ctx, cfg, from)
	if err != nil {
		return pack.Change{}, err
	}
	c, err := store.Install(p, activate)
	if err != nil {
		return c, fmt.Errorf("install: %w", err)
	}
	return c, nil
}

// RollbackPack goes back to the pack that was active before, or to the one named. A running gateway
// notices.
func RollbackPack(cfg *config.Config, to string) (pack.Change, error) {
	store, err := fitting(cfg)
	if err != nil {
		return pack.Change{}, err
	}
	c, err := store.Rollback(to)
	if err != nil {
		return c, fmt.Errorf("roll back: %w", err)
	}
	return c, nil
}

// fitting is the store for making another pack active: one that does not go together with the rules of
// the configuration would be refused by the gateway, so it is refused here. The built-in pack is not
// held to that: it is the way out.
func fitting(cfg *config.Config) (*pack.Store, error) {
	store, err := Packs(cfg)
	if err != nil {
		return nil, err
	}
	store.Construct = func(p *pack.Pack) (detect.Detector, error) {
		det, err := alone(p)
		if err != nil || p == nil {
			return det, err
		}
		if _, err := withRules(cfg, p, det); err != nil {
			return nil, fmt.Errorf("with inspect.rules of the configuration: %w", err)
		}
		return det, nil
	}
	return store, nil
}
