// Package dial makes every outbound connection of the gateway. One rule holds for all of them: the
// address that the name resolved to, not the name, is checked just before the socket connects
// (net.Dialer.ControlContext), so decimal hosts, rebinding resolvers and redirects change nothing.
// Only addresses of the public internet pass, unless the configuration names a range.
//
// It guards what it dials. An http.Transport that uses it must have Proxy set to nil, otherwise the
// address that is checked is the proxy's.
package dial

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// AllowKey is the configuration key that opens a range.
const AllowKey = "proxy.allow_private"

// Options say what a Dialer may reach. The zero value reaches the public internet only.
type Options struct {
	// AllowPrivate lists ranges that may be reached although they are not public. A range written
	// in IPv4-mapped form counts as the IPv4 range.
	AllowPrivate []netip.Prefix
	// Timeout bounds one connection attempt, name resolution included; 10 s when zero.
	Timeout time.Duration
	// KeepAlive is the TCP keep-alive period; Go's default when zero.
	KeepAlive time.Duration
	// Ports that may be reached; empty means any.
	Ports []uint16
	// Resolver is used instead of net.DefaultResolver.
	Resolver *net.Resolver
}

// Dialer opens TCP connections to permitted addresses. It is safe for concurrent use.
type Dialer struct {
	allow  []netip.Prefix
	ports  []uint16
	dialer net.Dialer
}

// New makes a Dialer.
func New(o Options) *Dialer {
	d := &Dialer{ports: slices.Clone(o.Ports)}
	for _, p := range o.AllowPrivate {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		d.allow = append(d.allow, p.Masked())
	}
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	d.dialer = net.Dialer{
		Timeout:        timeout,
		KeepAlive:      o.KeepAlive,
		Resolver:       o.Resolver,
		ControlContext: d.control,
	}
	return d
}

type hostKey struct{}

// DialContext connects to address (host:port). Every address that the host resolves to is checked
// by itself; those that are not permitted are never connected to. The error is, or wraps, *Refused
// when the guard said no.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, fmt.Errorf("dial %q: network %q is not permitted", address, network)
	}
	return d.dialer.DialContext(context.WithValue(ctx, hostKey{}, address), network, address)
}

func (d *Dialer) control(ctx context.Context, _, address string, _ syscall.RawConn) error {
	asked, _ := ctx.Value(hostKey{}).(string)
	if asked == "" {
		asked = address
	}
	// The address is the socket's own, always an IP and a port. What cannot be read is refused.
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return &Refused{Asked: asked, Reason: "an address that cannot be read"}
	}
	return d.check(asked, ap)
}

// Check says what DialContext would say about one resolved address.
func (d *Dialer) Check(addr netip.AddrPort) error { return d.check(addr.String(), addr) }

func (d *Dialer) check(asked string, ap netip.AddrPort) error {
	if len(d.ports) > 0 && !slices.Contains(d.ports, ap.Port()) {
		return &Refused{Asked: asked, Address: ap, Reason: "on a port that is not permitted", port: true}
	}
	ip := ap.Addr().WithZone("").Unmap()
	why := Classify(ip)
	if why == "" {
		return nil
	}
	for _, p := range d.allow {
		if p.Contains(ip) {
			return nil
		}
	}
	return &Refused{Asked: asked, Address: ap, Reason: why}
}

// Refused says that the guard did not let a connection be made.
type Refused struct {
	Asked   string         // host:port as it was asked for
	Address netip.AddrPort // what it resolved to
	Reason  string         // what kind of address it is
	port    bool
}

func (e *Refused) Error() string {
	// The host comes from the configuration or from a redirect, so it is quoted.
	s := "dial " + strconv.Quote(e.Asked) + " refused: "
	if !e.Address.IsValid() {
		return s + e.Reason
	}
	s += e.Address.Addr().String() + " is " + e.Reason
	if e.port {
		return "dial " + strconv.Quote(e.Asked) + " refused: port " + strconv.Itoa(int(e.Address.Port())) + " is not permitted"
	}
	return s + "; to reach it, add its range to " + AllowKey
}

// Timeout and Temporary make a refusal a final answer in the eyes of net.Error readers.
func (e *Refused) Timeout() bool   { return false }
func (e *Refused) Temporary() bool { return false }
