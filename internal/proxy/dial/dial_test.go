package dial

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func prefixes(ss ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range ss {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

func TestOnlyThePublicInternetIsReached(t *testing.T) {
	refused := map[string][]string{
		"unspecified":   {"0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0"},
		"loopback":      {"127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1"},
		"private":       {"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255", "::ffff:10.1.2.3", "::ffff:c0a8:1"},
		"carrier-grade": {"100.64.0.1", "100.127.255.255"},
		"link-local":    {"169.254.0.1", "169.254.255.255", "fe80::1", "fe80::1%eth0", "febf::1"},
		"metadata":      {"169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254", "::ffff:169.254.169.254"},
		"unique local":  {"fc00::1", "fd12:3456::1", "fdff::1%1"},
		"site-local":    {"fec0::1"},
		"multicast":     {"224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"},
		"broadcast":     {"255.255.255.255"},
		"reserved":      {"240.0.0.1", "254.1.1.1"},
		"documentation": {"192.0.2.1", "198.51.100.7", "203.0.113.9", "2001:db8::1", "3fff::1"},
		"benchmarking":  {"198.18.0.1", "198.19.255.255", "2001:2::1"},
		"protocol":      {"192.0.0.1", "2001:10::1", "2001:20::1"},
		"6to4":          {"192.88.99.1", "2002:7f00:1::1", "2002:a00:1::", "2002:808:808::1"},
		"NAT64":         {"64:ff9b::127.0.0.1", "64:ff9b::a00:1", "64:ff9b::169.254.169.254"},
		"Teredo":        {"2001:0:53aa:64c:0:0:80ff:fffe", "2001::1"},
		"ISATAP":        {"2600::5efe:10.0.0.1", "2600::200:5efe:7f00:1"},
		"global":        {"::7f00:1", "::10.0.0.1", "64:ff9b:1::1", "100::1", "::ffff:0:127.0.0.1", "5f00::1", "4000::1"},
	}
	public := []string{"1.1.1.1", "8.8.8.8", "104.18.6.192", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1",
		"169.253.255.255", "192.0.1.1", "198.17.255.255", "198.20.0.1", "223.255.255.255", "2606:4700::6810:1", "2600:1f00::1",
		"2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2600::5efe:8.8.8.8"}

	d, n := New(Options{}), 0
	for word, addrs := range refused {
		for _, a := range addrs {
			n++
			err := d.Check(netip.AddrPortFrom(netip.MustParseAddr(a), 443))
			var r *Refused
			if !errors.As(err, &r) {
				t.Errorf("%s: permitted", a)
				continue
			}
			if !strings.Contains(r.Reason, word) {
				t.Errorf("%s: reason %q lacks %q", a, r.Reason, word)
			}
			if !strings.Contains(err.Error(), AllowKey) {
				t.Errorf("%s: %q does not say how to allow it", a, err)
			}
		}
	}
	for _, a := range public {
		n++
		if err := d.Check(netip.AddrPortFrom(netip.MustParseAddr(a), 443)); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	if n < 60 {
		t.Fatalf("table holds %d addresses, wants 60", n)
	}
}

func TestAllowPrivateOpensOnlyItsRange(t *testing.T) {
	d := New(Options{AllowPrivate: prefixes("127.0.0.0/8", "10.1.0.0/16", "fd00:1::/32", "fe80::/10", "::ffff:192.168.7.0/120")})
	for a, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::ffff:127.0.0.1": true, "10.1.255.1": true, "fd00:1::5": true,
		"fe80::1%eth0": true, "192.168.7.200": true, "8.8.8.8": true,
		"::1": false, "10.2.0.1": false, "fd00:2::1": false, "192.168.8.1": false, "0.0.0.0": false,
		"64:ff9b::127.0.0.1": false, "2002:7f00:1::": false, "169.254.169.254": false,
	} {
		if got := d.Check(netip.AddrPortFrom(netip.MustParseAddr(a), 80)) == nil; got != want {
			t.Errorf("%s: permitted = %v, want %v", a, got, want)
		}
	}
}

func TestPortsAndNetworks(t *testing.T) {
	d := New(Options{Ports: []uint16{443}})
	if err := d.Check(netip.MustParseAddrPort("8.8.8.8:443")); err != nil {
		t.Error(err)
	}
	err := d.Check(netip.MustParseAddrPort("8.8.8.8:25"))
	if err == nil || !strings.Contains(err.Error(), "port 25") {
		t.Errorf("port 25: %v", err)
	}
	for _, network := range []string{"udp", "unix", "ip", "tcp5", ""} {
		if c, err := d.DialContext(t.Context(), network, "/tmp/sock"); err == nil {
			c.Close()
			t.Errorf("network %q was dialled", network)
		}
	}
	if err := d.control(context.Background(), "tcp", "not an address", nil); err == nil {
		t.Error("an unreadable socket address was permitted")
	}
}

// TestNamesThatMeanLoopback dials names that some resolver or C library reads as a private address.
// The listener behind them must never see a connection.
func TestNamesThatMeanLoopback(t *testing.T) {
	trap := newTrap(t)
	loop := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	dns := newDNS(t, func(string, int) []netip.Addr { return loop })
	d := New(Options{Resolver: dns.resolver()})
	for _, host := range []string{
		"127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::1%lo]", "0.0.0.0", "[::]", "", "localhost", "localhost.",
		"2130706433", "0x7f000001", "0177.0.0.1", "0177.0000.0000.0001", "127.1", "127.0.1", "0x7f.1", "127.0.0.1.",
		"LOCALHOST", "public.example.", "a.b.public.example", "①②⑦.⓪.⓪.①",
	} {
		c, err := d.DialContext(t.Context(), "tcp", host+":"+trap.port)
		if err == nil {
			c.Close()
			t.Errorf("%q was dialled", host)
		}
	}
	if n := trap.count.Load(); n != 0 {
		t.Fatalf("%d connections reached the trap", n)
	}
	c, err := New(Options{Resolver: dns.resolver(), AllowPrivate: prefixes("127.0.0.0/8")}).DialContext(t.Context(), "tcp", "public.example.:"+trap.port)
	if err != nil {
		t.Fatalf("an allowed range was refused: %v", err)
	}
	c.Close()
}

// TestRebindingResolver asks twice: the first answer is public, the later ones loopback.
func TestRebindingResolver(t *testing.T) {
	trap := newTrap(t)
	dns := newDNS(t, func(_ string, ask int) []netip.Addr {
		if ask == 0 {
			return []netip.Addr{netip.MustParseAddr("198.51.100.1")}
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("10.0.0.1")}
	})
	d := New(Options{Resolver: dns.resolver(), AllowPrivate: prefixes("198.51.100.0/24")})
	ips, err := dns.resolver().LookupNetIP(t.Context(), "ip4", "flip.example.")
	if err != nil || len(ips) != 1 || Classify(ips[0]) == "a loopback address" {
		t.Fatalf("first answer: %v %v", ips, err)
	}
	for range 5 {
		_, err := d.DialContext(t.Context(), "tcp", "flip.example.:"+trap.port)
		var r *Refused
		if !errors.As(err, &r) || !strings.Contains(r.Asked, "flip.example.") {
			t.Fatalf("rebound name: %v", err)
		}
	}
	if dns.asked.Load() < 2 || trap.count.Load() != 0 {
		t.Fatalf("asked %d times, trap saw %d", dns.asked.Load(), trap.count.Load())
	}
}

// TestMixedAnswerSkipsThePrivateOne: the private address comes first and is never connected to.
func TestMixedAnswerSkipsThePrivateOne(t *testing.T) {
	trap := newTrap(t)
	dns := newDNS(t, func(string, int) []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.3")}
	})
	d := New(Options{Resolver: dns.resolver(), AllowPrivate: prefixes("127.0.0.3/32")})
	c, err := d.DialContext(t.Context(), "tcp4", "mixed.example.:"+trap.port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.RemoteAddr().(*net.TCPAddr).IP.String(); got != "127.0.0.3" {
		t.Fatalf("connected to %s", got)
	}
}

// TestRedirectIsChecked follows a redirect into the metadata address with an http.Client.
func TestRedirectIsChecked(t *testing.T) {
	s := httptest.NewServer(http.RedirectHandler("http://169.254.169.254/latest/meta-data/", http.StatusFound))
	defer s.Close()
	d := New(Options{AllowPrivate: prefixes("127.0.0.0/8")})
	c := &http.Client{Transport: &http.Transport{DialContext: d.DialContext}}
	resp, err := c.Get(s.URL)
	var r *Refused
	if !errors.As(err, &r) || !strings.Contains(r.Reason, "metadata") {
		if resp != nil {
			io.Copy(io.Discard, resp.Body)
		}
		t.Fatalf("redirect: %v", err)
	}
}

func FuzzClassify(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2606:4700::1"} {
		a := netip.MustParseAddr(s).As16()
		f.Add(a[:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ip, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		u := ip.Unmap()
		if (u.IsPrivate() || u.IsLoopback() || u.IsLinkLocalUnicast() || u.IsMulticast() || u.IsUnspecified()) && Classify(ip) == "" {
			t.Fatalf("%s counts as public", ip)
		}
	})
}
