package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// A search that begins anywhere begins in this range: above the ports of well-known services, below those that
// systems hand out for outgoing connections, which could take a port between init and the node's start.
const (
	portFirst = 10000
	portLast  = 30000
	portsMax  = 65535
)

// ErrNoPort: no port from the base upwards is free.
var ErrNoPort = errors.New("no free port")

// place gives each name an address and an HTTP address. Ports are looked for in ascending order from base; 0 begins
// anywhere, so that two clusters made before either runs seldom want the same ones.
func place(names []string, host string, base int) ([]Node, error) {
	if base < 0 || base > portsMax {
		return nil, fmt.Errorf("base port: %w: %d is not from 1 to %d", ErrValue, base, portsMax)
	}
	if base == 0 {
		base = portFirst + rand.IntN(portLast-portFirst)
	}
	next := base
	find := func(host string) (string, error) {
		for ; next <= portsMax; next++ {
			free, err := portFree(host, next)
			if err != nil {
				return "", err
			}
			if free {
				addr := net.JoinHostPort(host, strconv.Itoa(next))
				next++
				return addr, nil
			}
		}
		return "", fmt.Errorf("%w: from %d to %d on %s", ErrNoPort, base, portsMax, host)
	}
	nodes := make([]Node, len(names))
	for i, name := range names {
		addr, err := find(host)
		if err != nil {
			return nil, err
		}
		http, err := find(DefaultHost)
		if err != nil {
			return nil, err
		}
		nodes[i] = Node{Name: name, Addr: addr, HTTP: http, Orchestrator: true}
	}
	return nodes, nil
}

// portFree reports whether nobody listens on the port, neither UDP nor TCP: addr and http may then be swapped by hand
// and still work. Of a host that is not this machine it can only be said that the number is free here. Any other
// failure to listen, such as a port that needs privileges, counts as not free.
func portFree(host string, port int) (bool, error) {
	free, err := canListen(host, port)
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		free, err = canListen("", port)
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return false, fmt.Errorf("host %q: %w", host, err)
	}
	return free, nil
}

func canListen(host string, port int) (bool, error) {
	addr := net.JoinHostPort(host, strconv.Itoa(port))
	tcp, err := net.Listen("tcp", addr)
	if err != nil {
		return false, err
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false, err
	}
	defer udp.Close()
	return true, nil
}
