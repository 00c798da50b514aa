package path

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience bounds what a test waits for. It is only reached when the test fails.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echoing is a target that sends everything back.
func echoing(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 64<<10)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			conn.WriteTo(b[:n], from)
		}
	})
	t.Cleanup(func() {
		conn.Close()
		wg.Wait()
	})
	return conn.LocalAddr().String()
}

func start(t *testing.T, cfg Config) *Proxy {
	t.Helper()
	p, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func client(t *testing.T, p *Proxy) *net.UDPConn {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, p.Addr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { conn.Close() })
	return conn
}

func send(t *testing.T, c *net.UDPConn, msg string) {
	t.Helper()
	if _, err := c.Write([]byte(msg)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, c *net.UDPConn) string {
	t.Helper()
	b := make([]byte, 64<<10)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// Many clients at a time get their own answers, of every length, in order.
func TestManyClients(t *testing.T) {
	p := start(t, Both(echoing(t), Link{Delay: ms}, 0))
	var wg sync.WaitGroup
	for i := range 8 {
		c := client(t, p)
		wg.Go(func() {
			for round := range 50 {
				msgs := make([]string, 4) // more would overflow the target's socket
				for j := range msgs {
					msgs[j] = fmt.Sprint(i, round, strings.Repeat("x", j*400+i))
					if _, err := c.Write([]byte(msgs[j])); err != nil {
						t.Error(err)
						return
					}
				}
				for _, want := range msgs {
					b := make([]byte, 2048)
					n, err := c.Read(b)
					if err != nil || string(b[:n]) != want {
						t.Errorf("client %d got %q, %v", i, b[:n], err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	// What has been sent is counted a moment later.
	deadline := time.Now().Add(patience)
	there, back := p.Counts()
	for there.Packets+back.Packets < 3200 && time.Now().Before(deadline) {
		there, back = p.Counts()
	}
	if there.Packets != 1600 || back.Packets != 1600 || there.Bytes != back.Bytes {
		t.Errorf("%+v, %+v", there, back)
	}
}

// No packet is early.
func TestDelayOfPackets(t *testing.T) {
	const each = 20 * ms
	p := start(t, Both(echoing(t), Link{Delay: each}, 0))
	c := client(t, p)
	for range 5 {
		began := time.Now()
		send(t, c, "ping")
		read(t, c)
		if took := time.Since(began); took < 2*each {
			t.Fatalf("a round trip of %v", took)
		}
	}
}

// A cut path swallows, and says nothing; healed, it carries the same flows on.
func TestCut(t *testing.T) {
	p := start(t, Both(echoing(t), Link{}, 0))
	c := client(t, p)
	send(t, c, "before")
	if got := read(t, c); got != "before" {
		t.Fatalf("got %q", got)
	}
	p.Cut()
	send(t, c, "swallowed")
	deadline := time.Now().Add(patience)
	for there, _ := p.Counts(); there.Swallowed == 0; there, _ = p.Counts() {
		if time.Now().After(deadline) {
			t.Fatal("nothing is swallowed")
		}
	}
	p.Heal()
	send(t, c, "after")
	if got := read(t, c); got != "after" {
		t.Errorf("got %q", got)
	}
}

// The target is not there at first; that does not end the path.
func TestTargetComesLater(t *testing.T) {
	gone, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := gone.LocalAddr().String()
	gone.Close()
	p := start(t, Both(target, Link{}, 0))
	c := client(t, p)
	for range 3 {
		send(t, c, "to nobody")
	}
	again, err := net.ListenPacket("udp", target)
	if err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	defer again.Close()
	again.SetDeadline(time.Now().Add(patience))
	b := make([]byte, 100)
	for {
		send(t, c, "to somebody")
		n, from, err := again.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		if string(b[:n]) == "to somebody" {
			again.WriteTo([]byte("hello"), from)
			break
		}
	}
	if got := read(t, c); got != "hello" {
		t.Errorf("got %q", got)
	}
}

func TestBadConfig(t *testing.T) {
	const ok = "127.0.0.1:9"
	for name, cfg := range map[string]Config{
		"target":    {},
		"host":      {Target: "localhost:9"},
		"family":    {Target: ok, Listen: "[::1]:0"},
		"delay":     {Target: ok, There: Link{Delay: -1}},
		"loss":      {Target: ok, Back: Link{Loss: 1.1}},
		"rate":      {Target: ok, Back: Link{Rate: -1}},
		"lineBytes": {Target: ok, There: Link{LineBytes: 1}},
	} {
		if p, err := Start(cfg); err == nil {
			p.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCloseTwice(t *testing.T) {
	p := start(t, Both(echoing(t), Link{Delay: time.Hour}, 0))
	c := client(t, p)
	send(t, c, "never arrives")
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	c.SetReadDeadline(time.Now())
	if _, err := c.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) && err == nil {
		t.Error("a packet that was on its way has arrived")
	}
}
