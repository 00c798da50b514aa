package frame

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func frames(t testing.TB, sizes ...int) (stream []byte, messages [][]byte) {
	t.Helper()
	lim := NetMesh()
	for i, n := range sizes {
		msg := bytes.Repeat([]byte{byte(i + 1)}, n)
		var err error
		if stream, err = Append(stream, Epoch(i), msg, &lim); err != nil {
			t.Fatal(err)
		}
		messages = append(messages, msg)
	}
	return stream, messages
}

func TestReader(t *testing.T) {
	stream, messages := frames(t, 1, 17, 200_000, 3, 1<<20)
	for name, r := range map[string]io.Reader{
		"whole":    bytes.NewReader(stream),
		"halves":   iotest.HalfReader(bytes.NewReader(stream)),
		"bytes":    iotest.OneByteReader(bytes.NewReader(stream)),
		"data+EOF": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		t.Run(name, func(t *testing.T) {
			fr := NewReader(r, Default())
			for i, msg := range messages {
				f, err := fr.Next()
				if err != nil || f.Epoch() != Epoch(i) || !bytes.Equal(f.Message(), msg) {
					t.Fatalf("frame %d: epoch %d, %d bytes, %v", i, f.Epoch(), len(f.Message()), err)
				}
				if cap(f.Message()) != len(f.Message()) {
					t.Error("the message can grow into the reader's buffer")
				}
			}
			for range 2 {
				if _, err := fr.Next(); err != io.EOF {
					t.Fatalf("at the end: %v", err)
				}
			}
		})
	}
}

// TestReaderDamaged: a bit that has changed on the way is found, wherever it is.
func TestReaderDamaged(t *testing.T) {
	stream, _ := frames(t, 40)
	for i := range stream {
		damaged := bytes.Clone(stream)
		damaged[i] ^= 1
		f, err := NewReader(bytes.NewReader(damaged), Default()).Next()
		if ErrorKind(err) == "" || len(f.Message()) > 0 {
			t.Fatalf("byte %d: a message of %d bytes, %v", i, len(f.Message()), err)
		}
		if i >= HeaderBytes && !errors.Is(err, ErrChecksum) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
}

// TestReaderCut: the end of a stream is io.EOF between frames and nowhere else.
func TestReaderCut(t *testing.T) {
	stream, _ := frames(t, 5, 40)
	for n := range stream {
		r := NewReader(bytes.NewReader(stream[:n]), Default())
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if boundary := n == 0 || n == HeaderBytes+5; boundary != (err == io.EOF) {
			t.Errorf("%d bytes: %v", n, err)
		} else if !boundary {
			de, ok := errors.AsType[*DecodeError](err)
			if !ok || !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, ErrTruncated) || errors.Is(err, io.EOF) {
				t.Errorf("%d bytes: %v", n, err)
			} else if n > HeaderBytes+5 && de.Offset != n-(HeaderBytes+5) || n < HeaderBytes+5 && de.Offset != n {
				t.Errorf("%d bytes: offset %d", n, de.Offset)
			}
		}
	}
}

func TestReaderPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	stream, _ := frames(t, 40)
	for _, n := range []int{0, 3, HeaderBytes, HeaderBytes + 7} {
		r := NewReader(io.MultiReader(bytes.NewReader(stream[:n]), iotest.ErrReader(broken)), Default())
		if _, err := r.Next(); !errors.Is(err, broken) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

// TestReaderAllocatesForWhatArrived: a header promises 4 GiB and a few bytes come.
func TestReaderAllocatesForWhatArrived(t *testing.T) {
	head := make([]byte, HeaderBytes)
	Header{Length: uint32(min(1<<32-1, messageBytesMost))}.put(head)
	for _, n := range []int{0, 10, growBytes, 3 * growBytes} {
		r := NewReader(bytes.NewReader(append(bytes.Clone(head), make([]byte, n)...)), NetMesh())
		if _, err := r.Next(); !errors.Is(err, ErrTruncated) {
			t.Fatal(err)
		}
		if most := 3*n + 2*growBytes; cap(r.buf) > most {
			t.Errorf("%d bytes came, %d allocated, more than %d", n, cap(r.buf), most)
		}
	}
}

func TestReaderLimits(t *testing.T) {
	stream, _ := frames(t, 8, 9, 9)
	r := NewReader(bytes.NewReader(stream), Limits{MessageBytesMax: 8})
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	r.SetLimits(Limits{MessageBytesMax: 9})
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	r.SetLimits(Limits{MessageBytesMax: 8})
	if _, err := r.Next(); !errors.Is(err, ErrLimit) {
		t.Errorf("%v", err)
	}
}

func TestReaderReadsNothingBeyondItsFrame(t *testing.T) {
	stream, _ := frames(t, 8)
	br := bytes.NewReader(append(stream, "not a frame"...))
	if _, err := NewReader(br, Default()).Next(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(br); err != nil || string(rest) != "not a frame" {
		t.Errorf("left: %q, %v", rest, err)
	}
}

func TestReaderReusesItsBuffer(t *testing.T) {
	stream, _ := frames(t, 100_000)
	br := bytes.NewReader(stream)
	r := NewReader(br, Default())
	if a := testing.AllocsPerRun(20, func() {
		br.Reset(stream)
		if _, err := r.Next(); err != nil {
			t.Error(err)
		}
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

// TestHeaderBeyondMemory: a length that is more than this system can ask memory for is over the limit, whatever the limits say.
func TestHeaderBeyondMemory(t *testing.T) {
	lim := NetMesh()
	head := make([]byte, HeaderBytes)
	Header{Length: 1<<32 - 1}.put(head)
	_, err := ParseHeader(head, &lim)
	if fits := uint64(1<<32-1) <= messageBytesMost; fits != (err == nil) || !fits && !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
}
