package transport

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"

	"ferry/frame"
	"ferry/identity"
)

// sink reads lanes to the end and says how much it got.
type sink struct{ got chan int64 }

func (sink) Opened(*Session, []byte) error { return nil }
func (sink) Control(*Session, frame.Frame) {}
func (sink) Closed(*Session, error)        {}
func (s sink) Stream(_ *Session, st *Stream) {
	buf := make([]byte, 256<<10)
	n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{st}, buf)
	s.got <- n
}

type book map[identity.NodeID]Address

func (b book) Resolve(_ context.Context, id identity.NodeID) (Address, error) {
	a, ok := b[id]
	if !ok {
		return Address{}, ErrUnknownNode
	}
	return a, nil
}

// BenchmarkLanes moves 64 MiB over four lanes on loopback, both ends in this process. It counts what has arrived.
func BenchmarkLanes(b *testing.B) {
	for _, connections := range []int{-1, 1, 2, 4} {
		b.Run(fmt.Sprintf("connections=%d", max(connections, 0)), func(b *testing.B) {
			const lanes, laneBytes = 4, 16 << 20
			known := make(book)
			got := make(chan int64, lanes)
			var ends [2]*Endpoint
			for i := range ends {
				key, err := identity.GenerateKey(nil)
				if err != nil {
					b.Fatal(err)
				}
				e, err := New(Config{Key: key, Resolver: known, Handler: sink{got}, Connections: connections, Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					b.Fatal(err)
				}
				if err := e.Listen("127.0.0.1:0"); err != nil {
					b.Fatal(err)
				}
				known[e.ID()] = Address{ID: e.ID(), Addr: e.Addr().String(), Key: key.Public()}
				ends[i] = e
			}
			ctx, cancel := context.WithCancel(context.Background())
			var run sync.WaitGroup
			for _, e := range ends {
				run.Go(func() { e.Run(ctx) })
			}
			defer run.Wait()
			defer cancel()
			s, err := ends[0].Session(ctx, ends[1].ID())
			if err != nil {
				b.Fatal(err)
			}
			chunk := make([]byte, 1<<20)
			b.SetBytes(lanes * laneBytes)
			b.ReportAllocs()
			for b.Loop() {
				for lane := range uint8(lanes) {
					st, err := s.OpenStream(ctx, Lane, lane)
					if err != nil {
						b.Fatal(err)
					}
					run.Go(func() {
						for range laneBytes / len(chunk) {
							if _, err := st.Write(chunk); err != nil {
								b.Error(err)
								break
							}
						}
						st.Close()
					})
				}
				for range lanes {
					if n := <-got; n != laneBytes {
						b.Fatalf("%d bytes have arrived", n)
					}
				}
			}
		})
	}
}
