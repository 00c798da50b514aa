package proto0500_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ferry/frame"
	"ferry/proto0500"
)

// sample is a message with what decodes it: m.Decode of a value that lives as long as the sample.
type sample struct {
	name    string
	message proto0500.Message
	decode  func(b []byte, lim *frame.Limits) error
	loop    func(b *testing.B, buf []byte, lim *frame.Limits) // decodes until b is done, without a call in between
}

type decoder[T any] interface {
	*T
	Decode(b []byte, lim *frame.Limits) error
}

func sampleOf[T proto0500.Message, P decoder[T]](m T) sample {
	return sample{
		name:    m.Kind().String(),
		message: m,
		decode:  P(new(T)).Decode,
		loop: func(b *testing.B, buf []byte, lim *frame.Limits) {
			p := P(new(T))
			for b.Loop() {
				if err := p.Decode(buf, lim); err != nil {
					b.Fatal(err)
				}
			}
		},
	}
}

// samples has one message of each kind, in the sizes at which the crate was measured.
func samples(t testing.TB) []sample {
	t.Helper()
	events := chain(t, 7, 100)
	for i := range events {
		events[i].Payload = bytes.Repeat([]byte{byte(i)}, 200)
	}
	head := events[99].Link
	text := proto0500.Text("the state could not be read!")
	if len(text) != 28 {
		t.Fatalf("a text of %d bytes", len(text))
	}
	counters := make([]proto0500.CounterValue, 20)
	for i := range counters {
		counters[i] = proto0500.CounterValue{Counter: proto0500.Counter(i), Value: uint64(i) << 40}
	}
	digests := make([][16]byte, 100)
	for i := range digests {
		digests[i] = [16]byte{byte(i), 1, 15: byte(i)}
	}
	entity := [32]byte{1, 2, 3}
	name, kind := proto0500.Text("accounts"), proto0500.Text("kv")
	return []sample{
		sampleOf(proto0500.TakeSnapshot{DaemonOrigin: 7, TargetNode: 8}),
		sampleOf(proto0500.SnapshotReady{DaemonOrigin: 7, SeqThrough: 9, ChunkIndex: 1, TotalChunks: 3, SnapshotBytes: bytes.Repeat([]byte{5}, 7000)}),
		sampleOf(proto0500.RestoreComplete{DaemonOrigin: 7, RestoredSeq: 9}),
		sampleOf(proto0500.ReplayComplete{DaemonOrigin: 7, ReplayedSeq: 100, TargetHead: head}),
		sampleOf(proto0500.CutoverNotify{DaemonOrigin: 7, TargetNode: 8}),
		sampleOf(proto0500.CleanupComplete{DaemonOrigin: 7}),
		sampleOf(proto0500.MigrationFailed{DaemonOrigin: 7, Reason: proto0500.Reason{Code: proto0500.CodeStateFailed, Text: text}}),
		sampleOf(proto0500.BufferedEvents{DaemonOrigin: 7, Events: proto0500.EventsOf(events...)}),
		sampleOf(proto0500.ActivateTarget{DaemonOrigin: 7}),
		sampleOf(proto0500.ActivateAck{DaemonOrigin: 7, ReplayedSeq: 100}),
		sampleOf(proto0500.Hello{Version: proto0500.HelloVersion, ChunkBytesMax: 1 << 20, BootID: 5}),
		sampleOf(proto0500.Begin{DaemonOrigin: 7, TargetNode: 8, Floor: 3}),
		sampleOf(proto0500.Prepare{DaemonOrigin: 7, SourceNode: 8, EntityID: entity, Name: name, DaemonKind: kind, StateBytes: 1 << 40}),
		sampleOf(proto0500.Prepared{DaemonOrigin: 7, ChunkBytes: 1 << 20, CreditBytes: 4 << 20, Lanes: 4}),
		sampleOf(proto0500.Transfer{DaemonOrigin: 7, SeqThrough: 9, Size: 1 << 33, Digest: [16]byte{1}, Final: true}),
		sampleOf(proto0500.TransferStatus{DaemonOrigin: 7, SeqThrough: 9, EventsThrough: 12, Ranges: proto0500.RangesOf(
			proto0500.Range{First: 0, Chunks: 4}, proto0500.Range{First: 9, Chunks: 1})}),
		sampleOf(proto0500.Seal{DaemonOrigin: 7, Seq: 100, Head: head, HeadHash: 5, StateDigest: 6}),
		sampleOf(proto0500.Ack{DaemonOrigin: 7, Seq: 100, Head: head, HeadHash: 5, StateDigest: 6}),
		sampleOf(proto0500.Query{DaemonOrigin: 7}),
		sampleOf(proto0500.Report{DaemonOrigin: 7, Epoch: 3, State: proto0500.StateSealed, Head: head, EntityID: entity, Name: name, DaemonKind: kind}),
		sampleOf(proto0500.Release{DaemonOrigin: 7}),
		sampleOf(proto0500.Progress{DaemonOrigin: 7, Counters: proto0500.CountersOf(counters...)}),
		sampleOf(proto0500.Rejected{DaemonOrigin: 7, Refused: proto0500.KindSeal, Reason: proto0500.RejectWrongPeer, Text: text}),
		sampleOf(proto0500.Force{DaemonOrigin: 7, DeadNode: 8}),
		sampleOf(proto0500.Chunk{DaemonOrigin: 7, SeqThrough: 9, ChunkIndex: 1, TotalChunks: 3, Encoding: proto0500.EncodingS2, RawLen: 7000,
			Bytes: bytes.Repeat([]byte{5}, 3500)}),
		sampleOf(proto0500.Have{DaemonOrigin: 7, SeqThrough: 9, Digests: proto0500.ChunkDigestsOf(digests...)}),
		sampleOf(proto0500.Pace{DaemonOrigin: 7, BytesPerSecond: 20e6}),
		sampleOf(proto0500.Recipient{DaemonOrigin: 7, SealingKey: entity, Signature: [64]byte{4, 5}}),
	}
}

func TestEveryKindHasASample(t *testing.T) {
	lim := frame.Default()
	var kinds []proto0500.Kind
	for _, s := range samples(t) {
		kinds = append(kinds, s.message.Kind())
		if s.message.Kind() != proto0500.KindHello && s.message.Origin() != 7 {
			t.Errorf("%s: origin %d", s.name, s.message.Origin())
		}
	}
	for d := range 256 {
		k := proto0500.Kind(d)
		_, err := proto0500.Decode([]byte{byte(d)}, &lim)
		known := !errors.Is(err, frame.ErrUnknown)
		if known != slices.Contains(kinds, k) || known == strings.HasPrefix(k.String(), "kind(") {
			t.Errorf("%v: known %v, sample %v", k, known, slices.Contains(kinds, k))
		}
	}
}

func TestCodecDoesNotAllocate(t *testing.T) {
	for limName, lim := range map[string]frame.Limits{"net-mesh": frame.NetMesh(), "default": frame.Default()} {
		for _, s := range samples(t) {
			t.Run(limName+"/"+s.name, func(t *testing.T) {
				b, err := s.message.Append(nil, &lim)
				if err != nil {
					t.Fatal(err)
				}
				dst := make([]byte, 0, len(b))
				if a := testing.AllocsPerRun(100, func() { dst, err = s.message.Append(dst[:0], &lim) }); a != 0 || err != nil {
					t.Errorf("encode: %v allocations, %v", a, err)
				}
				if a := testing.AllocsPerRun(100, func() { err = s.decode(b, &lim) }); a != 0 || err != nil {
					t.Errorf("decode: %v allocations, %v", a, err)
				}
			})
		}
	}
}

// TestDecodeLeavesItsInputAlone: and what it returns as slices cannot grow into what lies behind.
func TestDecodeLeavesItsInputAlone(t *testing.T) {
	lim := frame.Default()
	for _, s := range samples(t) {
		b, err := s.message.Append(nil, &lim)
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, "neighbour"...)
		before := bytes.Clone(b)
		m, err := proto0500.Decode(b[:len(b)-len("neighbour")], &lim)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		switch m := m.(type) {
		case proto0500.SnapshotReady:
			_ = append(m.SnapshotBytes, 'x')
		case proto0500.MigrationFailed:
			_ = append(m.Reason.Text, 'x')
		case proto0500.BufferedEvents:
			for e := range m.Events.All() {
				_ = append(e.Payload, 'x')
			}
		case proto0500.Prepare:
			_, _ = append(m.Name, 'x'), append(m.DaemonKind, 'x')
		case proto0500.Report:
			_, _ = append(m.Name, 'x'), append(m.DaemonKind, 'x')
		case proto0500.Rejected:
			_ = append(m.Text, 'x')
		case proto0500.Chunk:
			_ = append(m.Bytes, 'x')
		}
		if !bytes.Equal(b, before) {
			t.Errorf("%s: the input was written to", s.name)
		}
	}
}

// TestCloneOwnsItsBytes overwrites what a message was decoded from.
func TestCloneOwnsItsBytes(t *testing.T) {
	lim := frame.Default()
	for _, s := range samples(t) {
		b, err := s.message.Append(nil, &lim)
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Clone(b)
		m, err := proto0500.Decode(b, &lim)
		if err != nil {
			t.Fatal(err)
		}
		m = proto0500.Clone(m)
		clear(b)
		if got, err := m.Append(nil, &lim); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: encoded otherwise, %v", s.name, err)
		}
	}
}

// TestDecodeRefusesAnotherKind: a kind's own Decode is for that kind alone.
func TestDecodeRefusesAnotherKind(t *testing.T) {
	lim := frame.Default()
	for _, s := range samples(t) {
		b, err := s.message.Append(nil, &lim)
		if err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1
		if err := s.decode(b, &lim); !errors.Is(err, frame.ErrUnknown) {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}

// TestAppendRefuses: what no peer would take is not written, and dst stays as it was.
func TestAppendRefuses(t *testing.T) {
	tiny := frame.Limits{MessageBytesMax: 1000, ChunkBytesMax: 10, ChunksMax: 20, EventsMax: 2, EventPayloadBytesMax: 3, TextBytesMax: 4}
	wide := frame.Default()
	decoded := func(evs ...proto0500.Event) proto0500.Events {
		b, err := proto0500.BufferedEvents{Events: proto0500.EventsOf(evs...)}.Append(nil, &wide)
		if err != nil {
			t.Fatal(err)
		}
		var m proto0500.BufferedEvents
		if err := m.Decode(b, &wide); err != nil {
			t.Fatal(err)
		}
		return m.Events
	}
	events := chain(t, 1, 3)
	long := proto0500.Event{Payload: make([]byte, 4)}
	failed := func(c proto0500.Code, text string) proto0500.Message {
		return proto0500.MigrationFailed{Reason: proto0500.Reason{Code: c, Text: proto0500.Text(text)}}
	}
	ranges := func(rs ...proto0500.Range) proto0500.Message {
		return proto0500.TransferStatus{Ranges: proto0500.RangesOf(rs...)}
	}
	for _, c := range []struct {
		field string
		kind  string
		m     proto0500.Message
	}{
		{"total_chunks", "value", proto0500.SnapshotReady{SnapshotBytes: []byte{1}}},
		{"total_chunks", "limit", proto0500.SnapshotReady{TotalChunks: 21, SnapshotBytes: []byte{1}}},
		{"chunk_index", "value", proto0500.SnapshotReady{ChunkIndex: 2, TotalChunks: 2, SnapshotBytes: []byte{1}}},
		{"len", "limit", proto0500.SnapshotReady{TotalChunks: 2, SnapshotBytes: make([]byte, 11)}},
		{"code", "unknown", failed(7, "")},
		{"message", "limit", failed(proto0500.CodeStateFailed, "12345")},
		{"message", "text", failed(proto0500.CodeStateFailed, "\xff")},
		{"count", "limit", proto0500.BufferedEvents{Events: proto0500.EventsOf(events...)}},
		{"count", "limit", proto0500.BufferedEvents{Events: decoded(events...)}},
		{"len", "limit", proto0500.BufferedEvents{Events: proto0500.EventsOf(long)}},
		{"len", "limit", proto0500.BufferedEvents{Events: decoded(long)}},
		{"version", "version", proto0500.Hello{Version: 2}},
		{"name", "limit", proto0500.Prepare{Name: proto0500.Text("12345")}},
		{"kind", "text", proto0500.Report{DaemonKind: proto0500.Text("\xff")}},
		{"state", "value", proto0500.Report{State: 10}},
		{"ranges", "value", ranges(proto0500.Range{First: 1})},
		{"ranges", "value", ranges(proto0500.Range{First: 1, Chunks: 2}, proto0500.Range{First: 2, Chunks: 1})},
		{"ranges", "limit", ranges(proto0500.Range{First: 1, Chunks: 20})},
		{"count", "limit", proto0500.Progress{Counters: proto0500.CountersOf(make([]proto0500.CounterValue, 256)...)}},
		{"total_chunks", "value", proto0500.Chunk{Encoding: 1, RawLen: 1}},
		{"total_chunks", "limit", proto0500.Chunk{TotalChunks: 21, Encoding: 1, RawLen: 1}},
		{"chunk_index", "value", proto0500.Chunk{ChunkIndex: 2, TotalChunks: 2, Encoding: 1, RawLen: 1}},
		{"encoding", "unknown", proto0500.Chunk{TotalChunks: 2, RawLen: 1}},
		{"encoding", "unknown", proto0500.Chunk{TotalChunks: 2, Encoding: 5, RawLen: 1}},
		{"raw_len", "value", proto0500.Chunk{TotalChunks: 2, Encoding: 1}},
		{"raw_len", "limit", proto0500.Chunk{TotalChunks: 2, Encoding: 1, RawLen: 11}},
		{"len", "value", proto0500.Chunk{TotalChunks: 2, Encoding: proto0500.EncodingZeros, RawLen: 10, Bytes: make([]byte, 1)}},
		{"len", "value", proto0500.Chunk{TotalChunks: 2, Encoding: proto0500.EncodingS2, RawLen: 10}},
		{"len", "value", proto0500.Chunk{TotalChunks: 2, Encoding: proto0500.EncodingZstd, RawLen: 10, Bytes: make([]byte, 10)}},
		{"len", "value", proto0500.Chunk{TotalChunks: 2, Encoding: proto0500.EncodingHeld, RawLen: 10, Bytes: make([]byte, 15)}},
		{"len", "value", proto0500.Chunk{TotalChunks: 2, Encoding: proto0500.EncodingHeld, RawLen: 10, Bytes: make([]byte, 17)}},
		{"count", "limit", proto0500.Have{Digests: proto0500.ChunkDigestsOf(make([][16]byte, 4097)...)}},
		{"text", "limit", proto0500.Rejected{Text: proto0500.Text("12345")}},
	} {
		t.Run(fmt.Sprintf("%v/%s/%s", c.m.Kind(), c.field, c.kind), func(t *testing.T) {
			dst := []byte("before")
			got, err := c.m.Append(dst, &tiny)
			ee, ok := errors.AsType[*frame.EncodeError](err)
			if !ok || ee.Message != c.m.Kind().String() || ee.Field != c.field || frame.ErrorKind(err) != c.kind {
				t.Errorf("%v", err)
			}
			if string(got) != "before" {
				t.Errorf("dst is now %q", got)
			}
		})
	}
	// 255 bytes are what the length of a name can say, whatever the limits are.
	m := proto0500.Prepare{Name: bytes.Repeat([]byte{'n'}, 256)}
	if _, err := m.Append(nil, &wide); !errors.Is(err, frame.ErrLimit) {
		t.Errorf("a name of 256 bytes: %v", err)
	}
}

// TestDecodeLimits: the same bytes under smaller limits.
func TestDecodeLimits(t *testing.T) {
	wide := frame.Default()
	for _, c := range []struct {
		field string
		m     proto0500.Message
		lim   func(*frame.Limits)
	}{
		{"len", proto0500.SnapshotReady{TotalChunks: 1, SnapshotBytes: make([]byte, 9)}, func(l *frame.Limits) { l.ChunkBytesMax = 8 }},
		{"total_chunks", proto0500.SnapshotReady{TotalChunks: 9}, func(l *frame.Limits) { l.ChunksMax = 8 }},
		{"total_chunks", proto0500.Chunk{TotalChunks: 9, Encoding: 1, RawLen: 1}, func(l *frame.Limits) { l.ChunksMax = 8 }},
		{"raw_len", proto0500.Chunk{TotalChunks: 1, Encoding: 1, RawLen: 9}, func(l *frame.Limits) { l.ChunkBytesMax = 8 }},
		{"count", proto0500.BufferedEvents{Events: proto0500.EventsOf(chain(t, 1, 3)...)}, func(l *frame.Limits) { l.EventsMax = 2 }},
		{"len", proto0500.BufferedEvents{Events: proto0500.EventsOf(chain(t, 1, 3)...)}, func(l *frame.Limits) { l.EventPayloadBytesMax = 2 }},
		{"message", proto0500.MigrationFailed{Reason: proto0500.NewReason(proto0500.CodeStateFailed, "123")}, func(l *frame.Limits) { l.TextBytesMax = 2 }},
	} {
		b, err := c.m.Append(nil, &wide)
		if err != nil {
			t.Fatal(err)
		}
		small := wide
		c.lim(&small)
		_, err = proto0500.Decode(b, &small)
		if de, ok := errors.AsType[*frame.DecodeError](err); !ok || de.Field != c.field || !errors.Is(err, frame.ErrLimit) {
			t.Errorf("%v: %v", c.m.Kind(), err)
		}
	}
}

func TestReason(t *testing.T) {
	for _, c := range []struct {
		r    proto0500.Reason
		want string
	}{
		{proto0500.NewReason(proto0500.CodeNotReady, "dropped"), "NotReady"},
		{proto0500.NewReason(proto0500.CodeStateFailed, "no space"), "StateFailed: no space"},
		{proto0500.NewReason(proto0500.CodeIdentityTransportFailed, ""), "IdentityTransportFailed"},
		{proto0500.Reason{Code: proto0500.CodeNotReadyTimeout, Attempts: 5}, "NotReadyTimeout after 5 attempts"},
		{proto0500.Reason{Code: 99}, "code(99)"},
	} {
		if c.r.String() != c.want || c.r.Retriable() != (c.r.Code == proto0500.CodeNotReady) {
			t.Errorf("%q, not %q; retriable %v", c.r, c.want, c.r.Retriable())
		}
	}
}
