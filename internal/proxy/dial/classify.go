package dial

import "net/netip"

type block struct {
	prefix netip.Prefix
	reason string
}

func blocks(pairs ...string) []block {
	bs := make([]block, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		bs = append(bs, block{netip.MustParsePrefix(pairs[i]), pairs[i+1]})
	}
	return bs
}

// IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890), and the addresses at which
// clouds answer their own machines with credentials. The first match names the reason.
var special4 = blocks(
	"169.254.169.254/32", "a cloud metadata address",
	"169.254.170.2/32", "a cloud metadata address", // container credentials
	"169.254.169.253/32", "a cloud metadata address", // resolver
	"100.100.100.200/32", "a cloud metadata address",
	"192.0.0.192/32", "a cloud metadata address",
	"168.63.129.16/32", "a cloud metadata address", // a public address that only the host itself answers
	"0.0.0.0/8", "an unspecified address (RFC 1122)",
	"10.0.0.0/8", "a private address (RFC 1918)",
	"100.64.0.0/10", "a carrier-grade NAT address (RFC 6598)",
	"127.0.0.0/8", "a loopback address",
	"169.254.0.0/16", "a link-local address (RFC 3927)",
	"172.16.0.0/12", "a private address (RFC 1918)",
	"192.0.0.0/24", "a protocol assignment (RFC 6890)",
	"192.0.2.0/24", "a documentation address (RFC 5737)",
	"192.88.99.0/24", "a 6to4 relay address (RFC 7526)",
	"192.168.0.0/16", "a private address (RFC 1918)",
	"198.18.0.0/15", "a benchmarking address (RFC 2544)",
	"198.51.100.0/24", "a documentation address (RFC 5737)",
	"203.0.113.0/24", "a documentation address (RFC 5737)",
	"224.0.0.0/4", "a multicast address",
	"255.255.255.255/32", "the broadcast address",
	"240.0.0.0/4", "a reserved address (RFC 1112)",
)

var special6 = blocks(
	"::/128", "the unspecified address",
	"::1/128", "a loopback address",
	"fd00:ec2::254/128", "a cloud metadata address",
	"fd20:ce::254/128", "a cloud metadata address",
	"fc00::/7", "a unique local address (RFC 4193)",
	"fe80::/10", "a link-local address",
	"fec0::/10", "a site-local address (RFC 3879)",
	"ff00::/8", "a multicast address",
	"2001::/32", "a Teredo address, which carries an IPv4 address (RFC 4380)",
	"2001:2::/48", "a benchmarking address (RFC 5180)",
	"2001:db8::/32", "a documentation address (RFC 3849)",
	"2001::/23", "a protocol assignment (RFC 2928)",
	"2002::/16", "a 6to4 address, which carries an IPv4 address (RFC 3056)",
	"3fff::/20", "a documentation address (RFC 9637)",
)

var (
	global6 = netip.MustParsePrefix("2000::/3")
	nat64   = netip.MustParsePrefix("64:ff9b::/96")
)

// Classify says what kind of special address ip is, in words, or nothing for an address of the
// public internet. Addresses that carry an IPv4 address are judged by it where the form is in use
// (IPv4-mapped, NAT64, ISATAP) and refused whole where it is not (6to4, Teredo, IPv4-compatible).
func Classify(ip netip.Addr) string {
	ip = ip.WithZone("").Unmap()
	if !ip.IsValid() {
		return "not an address"
	}
	if ip.Is4() {
		return match(special4, ip)
	}
	if nat64.Contains(ip) {
		if why := Classify(tail4(ip, 12)); why != "" {
			return "a NAT64 address for " + why
		}
		return ""
	}
	if why := match(special6, ip); why != "" {
		return why
	}
	if !global6.Contains(ip) {
		return "not a global unicast address (RFC 4291)"
	}
	b := ip.As16()
	if (b[8] == 0 || b[8] == 2) && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe {
		if why := Classify(tail4(ip, 12)); why != "" {
			return "an ISATAP address for " + why
		}
	}
	return ""
}

func tail4(ip netip.Addr, at int) netip.Addr {
	b := ip.As16()
	return netip.AddrFrom4([4]byte(b[at : at+4]))
}

func match(bs []block, ip netip.Addr) string {
	for _, b := range bs {
		if b.prefix.Contains(ip) {
			return b.reason
		}
	}
	return ""
}
