package path

import (
	"math/rand/v2"
	"sync"
	"time"
)

// train is packets of one flow that are due together: all as long as segment, but for the last, which may be shorter.
type train struct {
	flow    *flow
	due     time.Duration
	bytes   []byte // in the line's ring
	segment int
	end     uint64 // where the ring is free up to when it has been sent
}

func (t *train) packets() uint64 { return packets(t.bytes, t.segment) }

// sent says how much has been sent.
type sent struct{ packets, bytes uint64 }

func (s *sent) add(o sent) {
	s.packets += o.packets
	s.bytes += o.bytes
}

func packets(b []byte, segment int) uint64 {
	return uint64(max(1, (len(b)+segment-1)/segment)) // a datagram may be empty
}

// line is one direction of the path. What is put into it comes out when it is due, in order: the delay is the same for
// all, and the rate never lets a later packet go before an earlier one. So it is a queue, and one goroutine takes from it.
//
// It has no clock: the time is what its callers say.
type line struct {
	link Link
	wake chan struct{} // has a value when something has been put into an empty line

	out sync.Mutex // held while trains are written; before mu

	mu     sync.Mutex
	rng    *rand.Rand
	ring   []byte  // the bytes of trains, each in one piece
	head   uint64  // what is free, and
	tail   uint64  // what is used of the ring begin here, modulo its length
	trains []train // in order; first is the next one
	first  int
	free   time.Duration // when the link has sent all that it was given
	isCut  bool
	counts Counts
}

func newLine(link Link, seed, direction uint64) *line {
	return &line{link: link, wake: make(chan struct{}, 1), rng: rand.New(rand.NewPCG(seed, direction)),
		ring: make([]byte, link.LineBytes)}
}

// put takes the packets in b, each segment bytes long but for the last, and copies those that get through.
func (l *line) put(now time.Duration, f *flow, b []byte, segment int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isCut {
		l.counts.Swallowed += packets(b, segment)
		return
	}
	place, begin, ok := l.place(len(b))
	if !ok {
		l.counts.Dropped += packets(b, segment)
		return
	}
	kept, n := 0, 0
	for {
		packet := b[:min(len(b), segment)]
		b = b[len(packet):]
		if l.admit(now, len(packet)) {
			n += copy(place[n:], packet)
			kept++
		}
		if len(b) == 0 {
			break
		}
	}
	if kept == 0 {
		return
	}
	l.tail = begin + uint64(n)
	if l.first == len(l.trains) {
		l.trains, l.first = l.trains[:0], 0
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	l.trains = append(l.trains, train{
		flow: f, due: max(now, l.free) + l.link.Delay, bytes: place[:n:n], segment: segment, end: l.tail,
	})
}

// place gives n bytes of the ring in one piece, and where they begin.
func (l *line) place(n int) (b []byte, begin uint64, ok bool) {
	size := uint64(len(l.ring))
	begin = l.tail
	if off := begin % size; off+uint64(n) > size {
		begin += size - off
	}
	if begin+uint64(n)-l.head > size {
		return nil, 0, false
	}
	off := begin % size
	return l.ring[off : off+uint64(n)], begin, true
}

// admit says whether a packet gets through, and takes the link's time for it.
func (l *line) admit(now time.Duration, size int) bool {
	if l.link.Rate > 0 {
		waiting := float64(max(l.free-now, 0)) * float64(l.link.Rate) / float64(time.Second)
		if waiting+float64(size) > float64(l.link.QueueBytes) {
			l.counts.Dropped++
			return false
		}
		takes := float64(size) * float64(time.Second) / float64(l.link.Rate)
		l.free = max(l.free, now) + time.Duration(takes)
	}
	if l.link.Loss > 0 && l.rng.Float64() < l.link.Loss {
		l.counts.Lost++
		return false
	}
	return true
}

// drop counts packets for which there is no flow.
func (l *line) drop(b []byte, segment int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Dropped += packets(b, segment)
}

// pass lets send have the trains that are due, at most a batch of them. It says how long the next one has to wait,
// if there is one; 0 means that it should be called again at once. What send could not send it counts.
func (l *line) pass(now func() time.Duration, send func([]train) sent) (wait time.Duration, waiting bool) {
	l.out.Lock()
	defer l.out.Unlock()
	l.mu.Lock()
	queue := l.trains[l.first:]
	if len(queue) == 0 {
		l.mu.Unlock()
		return 0, false
	}
	t := now()
	n := 0
	for n < min(len(queue), batchTrains) && queue[n].due <= t {
		n++
	}
	if n == 0 {
		l.mu.Unlock()
		return queue[0].due - t, true
	}
	due := queue[:n]
	l.mu.Unlock()

	// Nobody else takes from the queue meanwhile, and the ring keeps the bytes until head moves. Who puts into it may
	// move the queue itself, but never writes to these entries of it.
	done := send(due)

	l.mu.Lock()
	defer l.mu.Unlock()
	var all uint64
	for i := range due {
		all += due[i].packets()
	}
	l.counts.Packets += done.packets
	l.counts.Bytes += done.bytes
	l.counts.Dropped += all - done.packets
	l.head = due[n-1].end
	l.first += n
	// The queue is compacted now and then, so that it does not grow while it never runs empty.
	if l.first >= 1024 && l.first*2 >= len(l.trains) {
		l.trains = l.trains[:copy(l.trains, l.trains[l.first:])]
		l.first = 0
	}
	return 0, true
}

func (l *line) cut() {
	l.out.Lock() // nothing is being written
	defer l.out.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = true
	for _, t := range l.trains[l.first:] {
		l.counts.Swallowed += t.packets()
	}
	l.trains, l.first = l.trains[:0], 0
	l.head, l.free = l.tail, 0
}

func (l *line) heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = false
}

func (l *line) tell() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}
