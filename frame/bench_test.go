package frame

import (
	"bytes"
	"fmt"
	"testing"
)

var sizes = []int{17, 7029, 256 << 10, 1 << 20}

func BenchmarkAppend(b *testing.B) {
	lim := Default()
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			msg := make([]byte, n)
			buf := make([]byte, 0, n+HeaderBytes)
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for b.Loop() {
				var err error
				if buf, err = Append(buf[:0], 1, msg, &lim); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	lim := Default()
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			buf, err := Append(nil, 1, make([]byte, n), &lim)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for b.Loop() {
				if _, _, err := Parse(buf, &lim); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReader(b *testing.B) {
	lim := Default()
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			buf, err := Append(nil, 1, make([]byte, n), &lim)
			if err != nil {
				b.Fatal(err)
			}
			br := bytes.NewReader(buf)
			r := NewReader(br, lim)
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for b.Loop() {
				br.Reset(buf)
				if _, err := r.Next(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
