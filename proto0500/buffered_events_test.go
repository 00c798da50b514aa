package proto0500_test

import (
	"bytes"
	"errors"
	"testing"

	"ferry/frame"
	"ferry/proto0500"
)

// TestEventsEncoder writes the same bytes as BufferedEvents, into a frame.
func TestEventsEncoder(t *testing.T) {
	lim := frame.Default()
	for _, n := range []int{0, 1, 50} {
		events := chain(t, 3, n)
		var e proto0500.EventsEncoder
		e.Start(frame.Begin([]byte("before")), 3)
		for _, ev := range events {
			if err := e.Add(ev, &lim); err != nil {
				t.Fatal(err)
			}
		}
		if e.Len() != n || e.Bytes() != 13+n*47 {
			t.Errorf("%d events, %d bytes", e.Len(), e.Bytes())
		}
		buf := e.Finish()
		if err := frame.Finish(buf, len("before"), 5, &lim); err != nil {
			t.Fatal(err)
		}
		f, rest, err := frame.Parse(buf[len("before"):], &lim)
		if err != nil || len(rest) > 0 {
			t.Fatal(err)
		}
		want, err := proto0500.BufferedEvents{DaemonOrigin: 3, Events: proto0500.EventsOf(events...)}.Append(nil, &lim)
		if err != nil || !bytes.Equal(f.Message(), want) {
			t.Errorf("%d events: %x, not %x, %v", n, f.Message(), want, err)
		}
	}
}

func TestEventsEncoderIsBounded(t *testing.T) {
	lim := frame.Default()
	lim.EventsMax, lim.MessageBytesMax, lim.EventPayloadBytesMax = 3, 13+2*47, 60
	events := chain(t, 3, 4)
	var e proto0500.EventsEncoder
	e.Start(nil, 3)
	huge := proto0500.Event{Payload: make([]byte, 61)}
	if err := e.Add(huge, &lim); !errors.Is(err, frame.ErrLimit) {
		t.Errorf("a payload over the limit: %v", err)
	}
	wide := proto0500.Event{Payload: make([]byte, 60)} // 117 bytes with its message
	if err := e.Add(wide, &lim); !errors.Is(err, frame.ErrLimit) || errors.Is(err, proto0500.ErrBatchFull) {
		t.Errorf("an event that fits no message: %v", err)
	}
	for i, want := range []error{nil, nil, proto0500.ErrBatchFull} {
		if err := e.Add(events[i], &lim); !errors.Is(err, want) {
			t.Errorf("event %d: %v, not %v", i, err, want)
		}
	}
	lim.MessageBytesMax = 1000
	if err := e.Add(events[2], &lim); err != nil {
		t.Error(err)
	}
	if err := e.Add(events[3], &lim); !errors.Is(err, proto0500.ErrBatchFull) {
		t.Errorf("over EventsMax: %v", err)
	}
	var m proto0500.BufferedEvents
	if err := m.Decode(e.Finish(), &lim); err != nil || !m.Events.Equal(proto0500.EventsOf(events[:3]...)) {
		t.Errorf("%d events, %v", m.Events.Len(), err)
	}
}

func TestEventsDoNotAllocate(t *testing.T) {
	lim := frame.Default()
	events := chain(t, 3, 50)
	b, err := proto0500.BufferedEvents{DaemonOrigin: 3, Events: proto0500.EventsOf(events...)}.Append(nil, &lim)
	if err != nil {
		t.Fatal(err)
	}
	var m proto0500.BufferedEvents
	if a := testing.AllocsPerRun(100, func() {
		if err := m.Decode(b, &lim); err != nil {
			t.Error(err)
		}
		for ev := range m.Events.All() {
			sink += ev.ReceivedAt + uint64(len(ev.Payload))
		}
	}); a != 0 {
		t.Errorf("reading: %v allocations", a)
	}
	var e proto0500.EventsEncoder
	buf := make([]byte, 0, len(b))
	if a := testing.AllocsPerRun(100, func() {
		e.Start(buf[:0], 3)
		for i := range events {
			if err := e.Add(events[i], &lim); err != nil {
				t.Error(err)
			}
		}
		buf = e.Finish()
	}); a != 0 {
		t.Errorf("EventsEncoder: %v allocations", a)
	}
}

// TestEventsStop: who stops asking is not given more.
func TestEventsStop(t *testing.T) {
	lim := frame.Default()
	list := proto0500.EventsOf(chain(t, 3, 5)...)
	b, err := proto0500.BufferedEvents{Events: list}.Append(nil, &lim)
	if err != nil {
		t.Fatal(err)
	}
	var m proto0500.BufferedEvents
	if err := m.Decode(b, &lim); err != nil {
		t.Fatal(err)
	}
	for _, events := range []proto0500.Events{list, m.Events} {
		n := 0
		for range events.All() {
			if n++; n == 2 {
				break
			}
		}
		if n != 2 {
			t.Errorf("%d events", n)
		}
	}
}

func TestEventsEqual(t *testing.T) {
	a, b := chain(t, 3, 3), chain(t, 3, 3)
	if !proto0500.EventsOf(a...).Equal(proto0500.EventsOf(b...)) {
		t.Error("the same events differ")
	}
	b[1].Payload = []byte("x")
	if proto0500.EventsOf(a...).Equal(proto0500.EventsOf(b...)) || proto0500.EventsOf(a...).Equal(proto0500.EventsOf(a[:2]...)) {
		t.Error("other events are the same")
	}
}

// TestCountIsHeldAgainstTheBytes before anything is made of it.
func TestCountIsHeldAgainstTheBytes(t *testing.T) {
	lim := frame.Default()
	b, err := proto0500.BufferedEvents{Events: proto0500.EventsOf(chain(t, 3, 2)...)}.Append(nil, &lim)
	if err != nil {
		t.Fatal(err)
	}
	b[9] = 3
	var m proto0500.BufferedEvents
	err = m.Decode(b, &lim)
	if de, ok := errors.AsType[*frame.DecodeError](err); !ok || de.Field != "count" || de.Offset != 9 || !errors.Is(err, frame.ErrTruncated) {
		t.Errorf("%v", err)
	}
}
