package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestDamageShows: a byte that arrives otherwise is no sample.
func TestDamageShows(t *testing.T) {
	for name, at := range map[string]int64{"intact": -1, "first": 8, "last": 1<<20 + 7} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			deadline := time.Now().Add(20 * time.Second)
			near.SetDeadline(deadline)
			far.SetDeadline(deadline)
			path := filepath.Join(t.TempDir(), stateName)
			done := make(chan error, 1)
			go func() { done <- receive(&damaged{Conn: far, at: at}, path) }()
			state := stateSpec{Bytes: 1 << 20, Seed: 3}
			s, err := send(near, state, state.Bytes)
			near.Close()
			if rerr := <-done; rerr != nil && !errors.Is(rerr, io.EOF) {
				t.Fatal(rerr)
			}
			if (err == nil) != (at < 0) || err == nil && s.Bytes != 1<<20 {
				t.Errorf("%+v, %v", s, err)
			}
			want, _ := io.ReadAll(io.NewSectionReader(state, 0, state.Bytes))
			if got, err := os.ReadFile(path); err != nil || bytes.Equal(got, want) != (at < 0) {
				t.Errorf("%d bytes in the file, %v", len(got), err)
			}
		})
	}
}

// damaged flips a bit of the byte at.
type damaged struct {
	net.Conn
	at, off int64
}

func (d *damaged) Read(b []byte) (int, error) {
	n, err := d.Conn.Read(b)
	if i := d.at - d.off; i >= 0 && i < int64(n) {
		b[i] ^= 1
	}
	d.off += int64(n)
	return n, err
}
