package iam

import (
	"net/http"
	"net/netip"
	"strings"
)

// clientAddr finds the caller's address. Only when the peer is a trusted proxy is X-Forwarded-For
// read, from its end, which the nearest proxy wrote, up to the first address that is not trusted:
// what stands before it the caller may have written itself. An entry that is not an address ends
// the search at the last one that was, so that nothing invented is ever believed.
func clientAddr(peer netip.Addr, h http.Header, trusted []netip.Prefix) netip.Addr {
	peer = peer.Unmap().WithZone("")
	if len(trusted) == 0 || !contains(trusted, peer) {
		return peer
	}
	lines := h["X-Forwarded-For"]
	for i := len(lines) - 1; i >= 0; i-- {
		rest := lines[i]
		for more := true; more; {
			var last string
			if c := strings.LastIndexByte(rest, ','); c >= 0 {
				rest, last = rest[:c], rest[c+1:]
			} else {
				last, more = rest, false
			}
			a, ok := parseAddr(strings.Trim(last, " \t"))
			if !ok {
				return peer
			}
			if peer = a; !contains(trusted, a) {
				return a
			}
		}
	}
	return peer
}

// parseAddr reads an address with or without a port.
func parseAddr(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.Unmap().WithZone(""), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

func contains(ps []netip.Prefix, a netip.Addr) bool {
	for _, p := range ps {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
