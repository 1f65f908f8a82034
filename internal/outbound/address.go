package outbound

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"kairos"
)

// maxURL is how long an address may be, in bytes.
const maxURL = 2000

// refused lists what no web hook may reach: this machine, private networks,
// the metadata services of clouds, and what is no single host (IANA's special
// purpose registries for IPv4 and IPv6).
var refused = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),        // this network
	netip.MustParsePrefix("10.0.0.0/8"),       // private
	netip.MustParsePrefix("100.64.0.0/10"),    // carrier-grade NAT
	netip.MustParsePrefix("127.0.0.0/8"),      // this machine
	netip.MustParsePrefix("168.63.129.16/32"), // Azure's host
	netip.MustParsePrefix("169.254.0.0/16"),   // link-local, metadata services
	netip.MustParsePrefix("172.16.0.0/12"),    // private
	netip.MustParsePrefix("192.0.0.0/24"),     // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),     // documentation
	netip.MustParsePrefix("192.88.99.0/24"),   // 6to4 relays
	netip.MustParsePrefix("192.168.0.0/16"),   // private
	netip.MustParsePrefix("198.18.0.0/15"),    // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"),  // documentation
	netip.MustParsePrefix("203.0.113.0/24"),   // documentation
	netip.MustParsePrefix("224.0.0.0/4"),      // multicast
	netip.MustParsePrefix("240.0.0.0/4"),      // reserved, broadcast
	netip.MustParsePrefix("2001::/23"),        // protocol assignments, Teredo: holds an IPv4 address
	netip.MustParsePrefix("2001:db8::/32"),    // documentation
	netip.MustParsePrefix("2002::/16"),        // 6to4: holds an IPv4 address
	netip.MustParsePrefix("3fff::/20"),        // documentation
}

// global is the part of IPv6 that holds the internet's hosts. What lies
// outside is refused without a list: ::, ::1, mapped IPv4, NAT64
// (64:ff9b::/96 and 64:ff9b:1::/48), discard, unique local, link-local,
// site-local, multicast.
var global = netip.MustParsePrefix("2000::/3")

// public reports whether an address is a host of the internet.
func public(ip netip.Addr) bool {
	if !ip.IsValid() || ip.Zone() != "" || ip.Is6() && !global.Contains(ip) {
		return false
	}
	for _, p := range refused {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// CheckURL reports what is wrong with the address of a web hook before
// anything is dialled: its scheme, its host, a literal address that is not
// public. The error is a kairos.FieldError of the field url without the value.
// A host's name says nothing about its addresses: those are checked at dial.
func CheckURL(raw string) error { return check(raw, false) }

func check(raw string, private bool) error {
	if len(raw) > maxURL {
		return kairos.Invalid("url", "must have at most %d bytes", maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil || strings.ContainsAny(raw, " \\") {
		return kairos.Invalid("url", "is not a URL")
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return kairos.Invalid("url", "must begin with https:// or http://")
	}
	if u.User != nil {
		return kairos.Invalid("url", "must not hold a user or a password")
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return kairos.Invalid("url", "must have a port between 1 and 65535, or none")
		}
	}
	return checkHost(strings.ToLower(u.Hostname()), strings.HasPrefix(u.Host, "["), private)
}

// checkHost takes a name, or an address in its one usual form. Whatever else
// some resolver would read as an address is none here: 0x7f.1, 2130706433.
func checkHost(host string, bracketed, private bool) error {
	name := strings.TrimSuffix(host, ".")
	if name == "" {
		return kairos.Invalid("url", "must have a host")
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		if name != host || ip.Is6() != bracketed || ip.Zone() != "" || ip.Is4In6() {
			return kairos.Invalid("url", "must spell an address in its usual form")
		}
		if !private && !public(ip) {
			return kairos.Invalid("url", "must not lead to a private or reserved address")
		}
		return nil
	}
	if bracketed {
		return kairos.Invalid("url", "must have a host")
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return kairos.Invalid("url", "must have a host of letters, digits, dots and dashes (other names as xn--)")
		}
	}
	labels := strings.Split(name, ".")
	if last := labels[len(labels)-1]; isNumber(last) || slices.Contains(labels, "") || len(name) > 253 {
		return kairos.Invalid("url", "must have a host, by its name or its address in the usual form")
	}
	if !private && (labels[len(labels)-1] == "localhost" || labels[len(labels)-1] == "internal") {
		return kairos.Invalid("url", "must not lead to a private or reserved address")
	}
	return nil
}

// isNumber reports whether a host that ends in this label is an address to
// some resolver (WHATWG URL, "ends in a number").
func isNumber(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// refuse is the check at dial: address is what the resolver made of the host.
func refuse(network, address string) error {
	if network != "tcp4" && network != "tcp6" {
		return ErrRefused
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil || !public(to.Addr()) {
		return ErrRefused
	}
	return nil
}
