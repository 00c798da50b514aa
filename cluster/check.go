package cluster

import (
	"crypto/ed25519"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"ferry/identity"
)

const nameBytesMax = 63

// check holds the rules of the package comment that concern values. at gives the line of a node's field; nil when the
// nodes come from no file.
func check(path string, nodes []Node, at func(node int, field string) int) error {
	fail := func(i int, field string, err error) error {
		e := &FileError{Path: path, Field: field, Err: err}
		if i < len(nodes) {
			e.Node = nodes[i].Name
		}
		if at != nil {
			e.Line = at(i, field)
		}
		return e
	}
	if len(nodes) == 0 {
		return fail(0, "nodes", fmt.Errorf("%w: there is no [[nodes]] table", ErrMissing))
	}
	// One map for each thing that only one node may have. Two keys with the same id could not be told apart, so that
	// the id counts, not the key.
	names, addrs, https := map[string]int{}, map[string]int{}, map[string]int{}
	ids := map[identity.NodeID]int{}
	for i, n := range nodes {
		if err := CheckName(n.Name); err != nil {
			return fail(i, "name", err)
		}
		if err := checkAddr(n.Addr); err != nil {
			return fail(i, "addr", err)
		}
		if n.HTTP != "" {
			if err := checkAddr(n.HTTP); err != nil {
				return fail(i, "http", err)
			}
		}
		if len(n.PublicKey) != ed25519.PublicKeySize {
			return fail(i, "public_key", ErrMissing)
		}
		if j, twice := taken(names, n.Name, i); twice {
			return fail(i, "name", usedTwice(n.Name, nodes[j]))
		}
		if j, twice := taken(addrs, n.Addr, i); twice {
			return fail(i, "addr", usedTwice(n.Addr, nodes[j]))
		}
		if n.HTTP != "" {
			if j, twice := taken(https, n.HTTP, i); twice {
				return fail(i, "http", usedTwice(n.HTTP, nodes[j]))
			}
		}
		if j, twice := taken(ids, n.ID(), i); twice {
			return fail(i, "public_key", usedTwice(identity.FormatPublic(n.PublicKey), nodes[j]))
		}
	}
	return nil
}

// taken notes that node i has key, or says which one had it before.
func taken[K comparable](seen map[K]int, key K, i int) (before int, twice bool) {
	if j, ok := seen[key]; ok {
		return j, true
	}
	seen[key] = i
	return 0, false
}

func usedTwice(what string, by Node) error {
	return fmt.Errorf("%w: node %s has %s too", ErrDuplicate, by.Name, what)
}

// CheckName holds the rule for a node's name, which becomes a file name: lower case only, as not every file system
// tells a from A. The error matches ErrMissing or ErrValue.
func CheckName(name string) error {
	if name == "" {
		return ErrMissing
	}
	if len(name) > nameBytesMax {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrValue, len(name), nameBytesMax)
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case i > 0 && (c == '-' || c == '_'):
		default:
			return fmt.Errorf("%w: %q: lower-case letters and digits, then also - and _", ErrValue, name)
		}
	}
	return nil
}

// checkAddr holds the rule for host:port: others must be able to dial it as it stands.
func checkAddr(addr string) error {
	if addr == "" {
		return ErrMissing
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%w: %q is not host:port", ErrValue, addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("%w: %q: the port is a number from 1 to 65535", ErrValue, addr)
	}
	return CheckHost(host)
}

// CheckHost holds the rule for the host of an address: an IP address that can be dialled, or a name.
func CheckHost(host string) error {
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.IsUnspecified() || ip.IsMulticast() {
			return fmt.Errorf("%w: nobody can dial %s: give the address that the other nodes reach", ErrValue, host)
		}
		return nil
	}
	if host == "" || strings.ContainsAny(host, " \t/:@[]%\x00") {
		return fmt.Errorf("%w: %q is neither an IP address nor a host name", ErrValue, host)
	}
	return nil
}
