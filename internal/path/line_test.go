package path

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"
)

const ms = time.Millisecond

func testLine(t *testing.T, l Link) *line {
	t.Helper()
	if err := l.validate("Link"); err != nil {
		t.Fatal(err)
	}
	return newLine(l, 7, 1)
}

// passAll gives the packets that are due at a time.
func (l *line) passAll(now time.Duration) (got [][]byte, wait time.Duration) {
	for {
		wait, waiting := l.pass(func() time.Duration { return now }, func(due []train) (all sent) {
			for _, t := range due {
				all.add(sent{t.packets(), uint64(len(t.bytes))})
				for b := t.bytes; len(b) > 0; b = b[min(len(b), t.segment):] {
					got = append(got, bytes.Clone(b[:min(len(b), t.segment)]))
				}
			}
			return all
		})
		if !waiting || wait > 0 {
			return got, wait
		}
	}
}

func TestDelay(t *testing.T) {
	l := testLine(t, Link{Delay: 10 * ms})
	l.put(3*ms, nil, []byte("one"), 3)
	l.put(4*ms, nil, []byte("two"), 3)
	for _, c := range []struct {
		now  time.Duration
		want string
		wait time.Duration
	}{{3 * ms, "", 10 * ms}, {13*ms - 1, "", 1}, {13 * ms, "one", 1 * ms}, {50 * ms, "two", 0}, {51 * ms, "", 0}} {
		got, wait := l.passAll(c.now)
		if string(bytes.Join(got, nil)) != c.want || wait != c.wait {
			t.Errorf("at %v: %q and %v to wait, want %q and %v", c.now, got, wait, c.want, c.wait)
		}
	}
}

// A packet takes its time on the link; what waits for it is bounded, and what is dropped takes none.
func TestRate(t *testing.T) {
	l := testLine(t, Link{Delay: 5 * ms, Rate: 100_000, QueueBytes: 3000})
	for range 5 {
		l.put(0, nil, make([]byte, 1000), 1000) // 10 ms each
	}
	if c := l.tell(); c.Dropped != 2 {
		t.Fatalf("%+v", c)
	}
	for i, at := range []time.Duration{15 * ms, 25 * ms, 35 * ms} {
		if got, _ := l.passAll(at - 1); len(got) != 0 {
			t.Errorf("packet %d was early", i)
		}
		if got, _ := l.passAll(at); len(got) != 1 {
			t.Errorf("packet %d was late", i)
		}
	}
	// The link was idle: what it did not send then it does not send faster now.
	l.put(100*ms, nil, make([]byte, 2000), 1000)
	if _, wait := l.passAll(100 * ms); wait != 25*ms {
		t.Errorf("%v to wait", wait)
	}
}

// Packets are lost one by one out of trains, the same ones with the same seed, and about as many as asked for.
func TestLoss(t *testing.T) {
	const trains, each = 1000, 20
	run := func(seed uint64) (lost []byte, c Counts) {
		link := Link{Loss: 0.1}
		if err := link.validate("Link"); err != nil {
			t.Fatal(err)
		}
		l := newLine(link, seed, 1)
		b := make([]byte, each*10-3) // the last one of a train is short
		for i := range trains {
			for j := range b {
				b[j] = byte(j / 10)
			}
			l.put(0, nil, b, 10)
			got, _ := l.passAll(0)
			next := byte(0)
			for _, p := range got {
				if want := 10 - 3*(int(p[0])/(each-1)); len(p) != want || p[0] != p[len(p)-1] || p[0] < next {
					t.Fatalf("train %d: packet %v", i, p)
				}
				for ; next < p[0]; next++ {
					lost = append(lost, next)
				}
				next++
			}
			for ; next < each; next++ {
				lost = append(lost, next)
			}
		}
		return lost, l.tell()
	}
	lost, c := run(1)
	if c.Lost != uint64(len(lost)) || c.Packets+c.Lost != trains*each || c.Lost < 1800 || c.Lost > 2200 {
		t.Errorf("%d are missing, %+v", len(lost), c)
	}
	if again, _ := run(1); !bytes.Equal(again, lost) {
		t.Error("the same seed has lost others")
	}
	if other, _ := run(2); bytes.Equal(other, lost) {
		t.Error("another seed has lost the same")
	}
}

// The ring wraps round many times at every length, and nothing in it is overwritten.
func TestRing(t *testing.T) {
	l := testLine(t, Link{Delay: 1 * ms, LineBytes: 2 * trainBytesMax})
	rng := rand.New(rand.NewPCG(1, 2))
	var model [][]byte
	var count byte
	dropped := 0
	for now := range time.Duration(20_000) {
		b := bytes.Repeat([]byte{count}, rng.IntN(trainBytesMax/4))
		before := l.tell().Dropped
		l.put(now*ms, nil, b, len(b)+1)
		if l.tell().Dropped > before {
			dropped++
		} else if len(b) > 0 {
			model = append(model, b)
		}
		count++
		if rng.IntN(6) > 0 {
			continue
		}
		got, _ := l.passAll((now + 1) * ms)
		if len(got) != len(model) {
			t.Fatalf("%d packets, want %d", len(got), len(model))
		}
		for i := range got {
			if !bytes.Equal(got[i], model[i]) {
				t.Fatalf("packet %d is another", i)
			}
		}
		model = model[:0]
	}
	if dropped == 0 {
		t.Error("the line was never full")
	}
}

// The queue of a line that never runs empty stays as long as what is on its way.
func TestQueueIsBounded(t *testing.T) {
	l := testLine(t, Link{Delay: 10 * ms})
	for now := range 100_000 * ms / ms {
		l.put(now*ms, nil, []byte{1}, 1)
		l.passAll(now * ms)
	}
	if cap(l.trains) > 8192 {
		t.Errorf("%d entries for 10 packets", cap(l.trains))
	}
}

func TestCutLine(t *testing.T) {
	l := testLine(t, Link{Delay: 10 * ms, Rate: 1000})
	l.put(0, nil, []byte("on its way"), 5)
	l.cut()
	l.put(1*ms, nil, []byte("swallowed"), 9)
	if got, _ := l.passAll(time.Hour); got != nil {
		t.Errorf("%q came through", got)
	}
	l.heal()
	l.put(2*ms, nil, []byte("after"), 5)
	if _, wait := l.passAll(2 * ms); wait != 15*ms {
		t.Errorf("%v to wait behind what was cut", wait)
	}
	if got, _ := l.passAll(time.Hour); len(got) != 1 || string(got[0]) != "after" {
		t.Errorf("after the cut came %q", got)
	}
	if c := l.tell(); c != (Counts{Packets: 1, Bytes: 5, Swallowed: 3}) {
		t.Errorf("%+v", c)
	}
}
