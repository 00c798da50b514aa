package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

// stateSpec is a state that takes no memory and is the same for the same fields, whoever makes it.
type stateSpec struct {
	Bytes int64  `json:"bytes"`
	Seed  uint64 `json:"seed"` // another one makes every page another
	Log   bool   `json:"log"`  // like a log, compressible, rather than random
}

const (
	// blockBytes repeat in a state: more than caches hold, and more than a compressor looks back.
	blockBytes = 16 << 20
	// pageBytes have a stamp of their own, so that no two chunks of a state are the same, nor those of two states.
	pageBytes  = 4 << 10
	stampBytes = 16
)

var (
	randomBlock = sync.OnceValue(func() []byte {
		b := make([]byte, blockBytes)
		_, _ = rand.NewChaCha8([32]byte{'f', 'e', 'r', 'r', 'y'}).Read(b) // it never fails
		return b
	})
	logBlock = sync.OnceValue(func() []byte {
		r := rand.New(rand.NewPCG(1, 2))
		words := []string{"accepted", "timeout", "retry", "connection", "checkout", "user", "basket", "payment", "refused", "ok"}
		b := make([]byte, 0, blockBytes+1024)
		at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		for len(b) < blockBytes {
			at = at.Add(time.Duration(r.IntN(20_000)) * time.Microsecond)
			b = fmt.Appendf(b, `{"time":"%s","level":"%s","node":"n-%02d","request":"%016x","took_us":%d,"msg":"%s %s %s"}`+"\n",
				at.Format("2006-01-02T15:04:05.000000Z"), [...]string{"info", "info", "info", "warn"}[r.IntN(4)],
				r.IntN(16), r.Uint64(), r.IntN(100000), words[r.IntN(len(words))], words[r.IntN(len(words))], words[r.IntN(len(words))])
		}
		return b[:blockBytes]
	})
)

func (s stateSpec) block() []byte {
	if s.Log {
		return logBlock()
	}
	return randomBlock()
}

// ReadAt makes a state an io.ReaderAt.
func (s stateSpec) ReadAt(b []byte, off int64) (n int, err error) {
	block := s.block()
	for n < len(b) {
		at := off + int64(n)
		if at >= s.Bytes {
			return n, io.EOF
		}
		page := at / pageBytes
		end := min(s.Bytes, (page+1)*pageBytes) - at
		part := b[n:min(int64(len(b)), int64(n)+end)]
		n += copy(part, block[at%blockBytes:])
		if in := at % pageBytes; in < stampBytes {
			var stamp [stampBytes]byte
			s.stamp(&stamp, page)
			copy(part, stamp[in:])
		}
	}
	return n, nil
}

// stamp is what a page begins with: digits, as they are in a log, and not the same for two pages.
func (s stateSpec) stamp(b *[stampBytes]byte, page int64) {
	if s.Log {
		copy(b[:], fmt.Sprintf("%06x%010x", s.Seed&0xffffff, page))
		return
	}
	// Odd multipliers, so that the halves look like the rest and no two pairs fall together.
	binary.LittleEndian.PutUint64(b[:], s.Seed*0x9e3779b97f4a7c15^0xf1357aea2e62a9c5)
	binary.LittleEndian.PutUint64(b[8:], uint64(page)*0xd1342543de82ef95+s.Seed)
}

// write makes a file of it.
func (s stateSpec) write(path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, io.NewSectionReader(s, 0, s.Bytes), make([]byte, 1<<20))
	return err
}

// tmpfs is a directory for what shall not reach a disk, or "" where there is none.
func tmpfs() string {
	const shm = "/dev/shm"
	if info, err := os.Stat(shm); err == nil && info.IsDir() {
		return shm
	}
	return ""
}
