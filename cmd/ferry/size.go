package main

import (
	"fmt"
	"math"

	"github.com/dustin/go-humanize"
)

// size is a number of bytes as a flag: 64MiB, 1GiB, 1.5MB, 4096.
type size uint64

func (s size) String() string { return humanize.IBytes(uint64(s)) }

// Set is for pflag.
func (s *size) Set(text string) error {
	n, err := humanize.ParseBytes(text)
	if err != nil || n > math.MaxInt64 {
		return fmt.Errorf("%q is not a size: write 64MiB, 1GiB or a number of bytes", text)
	}
	*s = size(n)
	return nil
}

// Type is what help calls the value.
func (s *size) Type() string { return "size" }
