package proto0500_test

import (
	"bytes"
	"testing"

	"ferry/frame"
	"ferry/proto0500"
)

// Run them with -count=20 and read minimum and median; BenchmarkCopy beside them says how fast memory is at that moment.
// Names stay, so that benchstat can compare commits.

// netMesh has what the crate net-mesh 0.46.0 takes for the same message, on another machine of the same kind: nanoseconds
// to encode and to decode, the least where a range was measured. It is printed beside ours.
var netMesh = map[proto0500.Kind][2]float64{
	proto0500.KindTakeSnapshot:    {17.5, 7.7},
	proto0500.KindSnapshotReady:   {92, 119},
	proto0500.KindRestoreComplete: {17.5, 7.7},
	proto0500.KindReplayComplete:  {17.5, 7.7},
	proto0500.KindCutoverNotify:   {17.5, 7.7},
	proto0500.KindCleanupComplete: {17.5, 7.7},
	proto0500.KindMigrationFailed: {21, 47},
	proto0500.KindBufferedEvents:  {641, 3053},
	proto0500.KindActivateTarget:  {17.5, 7.7},
	proto0500.KindActivateAck:     {17.5, 7.7},
}

func besideNetMesh(b *testing.B, ns float64) {
	if ns > 0 {
		b.ReportMetric(ns, "net-mesh-ns/op")
	}
}

// BenchmarkCopy is memory alone, in the sizes of a chunk and of 100 events.
func BenchmarkCopy(b *testing.B) {
	for _, n := range []int{7000, 24413} {
		b.Run(uint64String(uint64(n)), func(b *testing.B) {
			src, dst := bytes.Repeat([]byte{1}, n), bytes.Repeat([]byte{2}, n)
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for b.Loop() {
				copy(dst, src)
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	lim := frame.NetMesh()
	for _, s := range samples(b) {
		b.Run(s.name, func(b *testing.B) {
			encodeLoop(b, s.message, &lim)
			besideNetMesh(b, netMesh[s.message.Kind()][0])
		})
	}
	// Events as they came from a peer are one copy, where those of a list are gathered one by one.
	b.Run("BufferedEvents-passed-on", func(b *testing.B) {
		var m proto0500.BufferedEvents
		if err := m.Decode(encodedEvents(b, &lim), &lim); err != nil {
			b.Fatal(err)
		}
		encodeLoop(b, m, &lim)
		besideNetMesh(b, netMesh[m.Kind()][0])
	})
}

func encodeLoop(b *testing.B, m proto0500.Message, lim *frame.Limits) {
	buf, err := m.Append(nil, lim)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if buf, err = m.Append(buf[:0], lim); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	lim := frame.NetMesh()
	for _, s := range samples(b) {
		b.Run(s.name, func(b *testing.B) {
			// With room as a node's buffer has it: 17 bytes alone may lie across two cache lines, and then take half as
			// long again.
			buf, err := s.message.Append(make([]byte, 0, 128), &lim)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(buf)))
			s.loop(b, buf, &lim)
			besideNetMesh(b, netMesh[s.message.Kind()][1])
		})
	}
	// Decoding leaves events where they are; this is the price with each of them read.
	b.Run("BufferedEvents-all-read", func(b *testing.B) {
		buf := encodedEvents(b, &lim)
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
		besideNetMesh(b, netMesh[proto0500.KindBufferedEvents][1])
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

func encodedEvents(b *testing.B, lim *frame.Limits) []byte {
	b.Helper()
	buf, err := proto0500.BufferedEvents{DaemonOrigin: 7, Events: proto0500.EventsOf(events200(b)...)}.Append(nil, lim)
	if err != nil {
		b.Fatal(err)
	}
	return buf
}
