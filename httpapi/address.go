package httpapi

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// reservedPrefixes are the addresses that no provider on the Internet has: where a name of a peer's choosing resolves to one,
// following it would let the peer reach into our own network. IPv6 ranges that carry an IPv4 address inside are refused whole.
var reservedPrefixes = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network (RFC 791)
	netip.MustParsePrefix("10.0.0.0/8"),      // private (RFC 1918)
	netip.MustParsePrefix("100.64.0.0/10"),   // carrier-grade NAT (RFC 6598)
	netip.MustParsePrefix("127.0.0.0/8"),     // loopback
	netip.MustParsePrefix("169.254.0.0/16"),  // link-local, cloud metadata
	netip.MustParsePrefix("172.16.0.0/12"),   // private (RFC 1918)
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments (RFC 6890)
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays, deprecated (RFC 7526)
	netip.MustParsePrefix("192.168.0.0/16"),  // private (RFC 1918)
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarking (RFC 2544)
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("224.0.0.0/4"),     // multicast
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, and broadcast
	netip.MustParsePrefix("::/96"),           // unspecified, loopback, IPv4-compatible
	netip.MustParsePrefix("64:ff9b::/96"),    // NAT64 (RFC 6052)
	netip.MustParsePrefix("64:ff9b:1::/48"),  // NAT64, local use (RFC 8215)
	netip.MustParsePrefix("100::/64"),        // discard (RFC 6666)
	netip.MustParsePrefix("2001::/23"),       // protocol assignments, Teredo
	netip.MustParsePrefix("2001:db8::/32"),   // documentation
	netip.MustParsePrefix("2002::/16"),       // 6to4
	netip.MustParsePrefix("3fff::/20"),       // documentation (RFC 9637)
	netip.MustParsePrefix("5f00::/16"),       // segment routing (RFC 9602)
	netip.MustParsePrefix("fc00::/7"),        // unique local
	netip.MustParsePrefix("fe80::/10"),       // link-local
	netip.MustParsePrefix("fec0::/10"),       // site-local, deprecated
	netip.MustParsePrefix("ff00::/8"),        // multicast
}

// publicAddress reports whether a connection to the address may be opened for a peer that has no leave to be in a private
// network. An IPv4-mapped address (::ffff:0:0/96) is never public, whatever it maps: nothing that resolves names needs it.
func publicAddress(address netip.Addr) bool {
	if !address.IsValid() || address.Is4In6() || address.Zone() != "" {
		return false
	}
	return !slices.ContainsFunc(reservedPrefixes, func(p netip.Prefix) bool { return p.Contains(address) })
}

// checkAddress is a net.Dialer's Control: it sees the address that is about to be connected to, after DNS, so that a name
// cannot change its mind between a check and the connection.
func checkAddress(network, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %q: %w", address, err)
	}
	if !publicAddress(target.Addr()) {
		return &net.AddrError{Err: "not a public address, and the peer has no leave to use private ones", Addr: target.Addr().String()}
	}
	return nil
}
