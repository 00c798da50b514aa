package proto0500_test

import (
	"testing"

	"ferry/frame"
	"ferry/proto0500"
)

func BenchmarkEncode(b *testing.B) {
	lim := frame.NetMesh()
	for _, s := range samples(b) {
		b.Run(s.name, func(b *testing.B) {
			buf, err := s.message.Append(nil, &lim)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(buf)))
			for b.Loop() {
				if buf, err = s.message.Append(buf[:0], &lim); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEncodeView passes on events as they came: one copy, where BenchmarkEncode/BufferedEvents gathers 100.
func BenchmarkEncodeView(b *testing.B) {
	lim := frame.NetMesh()
	buf, err := proto0500.BufferedEvents{Events: proto0500.EventsOf(events200(b)...)}.Append(nil, &lim)
	if err != nil {
		b.Fatal(err)
	}
	var m proto0500.BufferedEvents
	if err := m.Decode(buf, &lim); err != nil {
		b.Fatal(err)
	}
	var dst []byte
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if dst, err = m.Append(dst[:0], &lim); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	lim := frame.NetMesh()
	for _, s := range samples(b) {
		b.Run(s.name, func(b *testing.B) {
			buf, err := s.message.Append(nil, &lim)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(buf)))
			s.loop(b, buf, &lim)
		})
	}
	// Decoding leaves events where they are; this is the price with each of them read.
	b.Run("BufferedEvents-all-read", func(b *testing.B) {
		buf, err := proto0500.BufferedEvents{Events: proto0500.EventsOf(events200(b)...)}.Append(nil, &lim)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		b.SetBytes(int64(len(buf)))
		var m proto0500.BufferedEvents
		for b.Loop() {
			if err := m.Decode(buf, &lim); err != nil {
				b.Fatal(err)
			}
			for ev := range m.Events.All() {
				sink += uint64(ev.Link.Sequence) + uint64(len(ev.Payload))
			}
		}
	})
}

func BenchmarkEventsEncoder(b *testing.B) {
	lim := frame.NetMesh()
	events := events200(b)
	var e proto0500.EventsEncoder
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		e.Start(buf[:0], 7)
		for i := range events {
			if err := e.Add(events[i], &lim); err != nil {
				b.Fatal(err)
			}
		}
		buf = e.Finish()
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkLinkHash(b *testing.B) {
	l := proto0500.Genesis(1)
	for _, n := range []int{200, 7000} {
		b.Run(uint64String(uint64(n)), func(b *testing.B) {
			payload := make([]byte, n)
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for b.Loop() {
				sink += l.Hash(payload)
			}
		})
	}
}

// events200 are the 100 events of 200 bytes at which the crate was measured.
func events200(b *testing.B) []proto0500.Event {
	b.Helper()
	events := chain(b, 7, 100)
	for i := range events {
		events[i].Payload = make([]byte, 200)
	}
	return events
}
