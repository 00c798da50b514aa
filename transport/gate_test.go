package transport

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const testDatagram = 1000

var testPeer = netip.MustParseAddrPort("192.0.2.1:7000")

// gated is a gate with one connection, whose progress the test makes.
func gated(t *testing.T) (*gate, *atomic.Uint64) {
	t.Helper()
	g := newGate()
	var bytes atomic.Uint64
	bytes.Store(12345) // of before
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	g.watch(ctx, testPeer, bytes.Load)
	return g, &bytes
}

func (g *gate) handAll(count, bytes int) {
	for range count {
		g.hand(bytes, time.Now())
	}
}

// took is how long wait took.
func (g *gate) took() time.Duration {
	began := time.Now()
	g.wait()
	return time.Since(began)
}

func TestGateWaitsForConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, processed := gated(t)
		g.handAll(gateMost-1, testDatagram)
		if d := g.took(); d != 0 {
			t.Fatalf("%d unprocessed datagrams have kept the reader waiting for %v", gateMost-1, d)
		}
		g.hand(testDatagram, time.Now())
		through := make(chan struct{})
		go func() {
			g.wait()
			close(through)
		}()
		synctest.Wait()
		g.look()
		synctest.Wait()
		if isClosed(through) {
			t.Fatalf("%d unprocessed datagrams have not kept the reader waiting", gateMost)
		}
		processed.Add(testDatagram - 1)
		g.look()
		synctest.Wait()
		if isClosed(through) {
			t.Fatal("the reader goes on before a whole datagram is processed")
		}
		time.Sleep(time.Microsecond)
		processed.Add(1)
		g.look()
		synctest.Wait()
		if !isClosed(through) {
			t.Fatal("the reader waits on after a datagram was processed")
		}
		g.hand(testDatagram, time.Now())
		if d := g.took(); d != gatePatience {
			t.Fatalf("the reader has waited for %v the second time", d)
		}
	})
}

// TestGateLooksByItself: a connection need not send anything after it has processed a datagram.
func TestGateLooksByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, processed := gated(t)
		g.handAll(gateMost, testDatagram)
		time.AfterFunc(gatePoll/2, func() { processed.Add(testDatagram) })
		if d := g.took(); d != gatePoll {
			t.Fatalf("the reader has waited for %v, not %v", d, gatePoll)
		}
	})
}

// TestGateIsPatientOnce: datagrams that nobody processes hold the reader up for gatePatience, and then not for gateRest.
func TestGateIsPatientOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := gated(t)
		g.handAll(gateMost, testDatagram)
		if d := g.took(); d != gatePatience {
			t.Fatalf("the reader has waited for %v, not %v", d, gatePatience)
		}
		began := time.Now()
		for time.Since(began) < gateRest-time.Millisecond {
			g.handAll(8, testDatagram)
			if d := g.took(); d != 0 {
				t.Fatalf("the reader has waited for %v again, %v after it had in vain", d, time.Since(began))
			}
			time.Sleep(10 * time.Microsecond)
		}
		time.Sleep(2 * time.Millisecond)
		g.handAll(gateMost, testDatagram)
		if d := g.took(); d != gatePatience {
			t.Fatalf("the reader has waited for %v, not %v, after the rest", d, gatePatience)
		}
	})
}

// TestGateForgetsGarbage: what nobody processes does not count for longer than gatePatience.
func TestGateForgetsGarbage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := gated(t)
		for range 10 {
			g.handAll(gateMost-1, testDatagram)
			if d := g.took(); d != 0 {
				t.Fatalf("the reader has waited for %v", d)
			}
			time.Sleep(gatePatience)
		}
	})
}

// TestGateCountsItsPeers: what strangers send is not waited for, and that of a peer no longer than it has a connection.
func TestGateCountsItsPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		ends := make([]context.CancelFunc, 2)
		for i := range ends {
			var ctx context.Context
			ctx, ends[i] = context.WithCancel(t.Context())
			g.watch(ctx, netip.AddrPortFrom(netip.MustParseAddr("::ffff:192.0.2.1"), 7000), func() uint64 { return 0 })
		}
		check := func(want bool) {
			t.Helper()
			synctest.Wait()
			if g.counts(testPeer) != want || g.counts(netip.MustParseAddrPort("192.0.2.1:7001")) {
				t.Fatalf("with %d connections: %v", len(g.conns), g.peers)
			}
		}
		check(true)
		ends[0]()
		check(true)
		ends[1]()
		check(false)
		if len(g.peers) != 0 {
			t.Fatal("an address is kept")
		}
	})
}

// TestGateForgetsLateCredit: what is processed after it has been given up does not stand for what comes later.
func TestGateForgetsLateCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, processed := gated(t)
		g.handAll(gateMost, testDatagram)
		g.took()
		time.Sleep(gateRest)
		processed.Add(3 * gateMost * testDatagram) // those and others of before
		g.handAll(gateMost, testDatagram)
		g.took() // it takes the late ones for these
		g.handAll(gateMost, testDatagram)
		if d := g.took(); d != gatePatience {
			t.Fatalf("the reader has waited for %v, not %v", d, gatePatience)
		}
	})
}

func TestGateWithoutConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		ctx, cancel := context.WithCancel(t.Context())
		g.watch(ctx, testPeer, func() uint64 { return 0 })
		g.handAll(gateMost, testDatagram)
		through := make(chan struct{})
		began := time.Now()
		go func() {
			g.wait()
			close(through)
		}()
		synctest.Wait()
		cancel()
		<-through
		if d := time.Since(began); d != 0 {
			t.Fatalf("the reader has waited for %v after the last connection ended", d)
		}
		g.handAll(gateRing+gateMost, testDatagram)
		if d := g.took(); d != 0 {
			t.Fatalf("the reader has waited for %v", d)
		}
	})
}
