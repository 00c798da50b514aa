package path

import (
	"bytes"
	"net"
	"testing"
	"time"
)

// A train that the kernel hands over in one piece comes out as the packets it was sent as, without those that were lost.
func TestTrains(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(patience))
	p := start(t, Config{Target: conn.LocalAddr().String(), There: Link{Loss: 0.2}, Seed: 3})
	c := client(t, p)
	const segment, packets, last = 1200, 30, 700
	msg := make([]byte, (packets-1)*segment+last)
	for i := range msg {
		msg[i] = byte(i / segment)
	}
	var oob [oobBytes]byte
	if _, _, err := c.WriteMsgUDP(msg, segmentControl(oob[:], segment), nil); err != nil {
		t.Skipf("the kernel does not cut trains: %v", err)
	}
	// The end of the train is known by its counts.
	var counts Counts
	for deadline := time.Now().Add(patience); counts.Packets+counts.Lost < packets; counts, _ = p.Counts() {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", counts)
		}
	}
	if counts.Lost == 0 || counts.Packets == 0 {
		t.Fatalf("%+v: choose another seed", counts)
	}
	b, next := make([]byte, 64<<10), 0
	for range counts.Packets {
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		want := segment
		if b[0] == packets-1 {
			want = last
		}
		if n != want || int(b[0]) < next || !bytes.Equal(b[:n], msg[int(b[0])*segment:][:n]) {
			t.Fatalf("packet %d of %d bytes after packet %d", b[0], n, next-1)
		}
		next = int(b[0]) + 1
	}
}

// Where the kernel does not take a train, its packets go one by one.
func TestSingly(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(patience))
	from, err := net.DialUDP("udp", nil, conn.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	// More packets than the kernel cuts a train into.
	var w writer
	const packets = 130
	got := w.write(newSocket(from), []train{{bytes: make([]byte, packets*10-5), segment: 10}}, false)
	if got != (sent{packets, packets*10 - 5}) {
		t.Fatalf("%+v", got)
	}
	b := make([]byte, 100)
	for i := range packets {
		if n, err := conn.Read(b); err != nil || n != 10 && i < packets-1 {
			t.Fatalf("packet %d: %d bytes, %v", i, n, err)
		}
	}
}
