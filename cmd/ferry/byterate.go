package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/dustin/go-humanize"

	"ferry/daemon"
)

// byteRate is a number of bytes a second as a flag: 50MB/s, 20MiB/s, 1000000, or
// none, which is 0.
type byteRate uint64

func (r byteRate) String() string {
	switch {
	case r == 0:
		return "none"
	case r%1024 == 0:
		return humanize.IBytes(uint64(r)) + "/s"
	}
	return humanize.Bytes(uint64(r)) + "/s"
}

// Set is for pflag.
func (r *byteRate) Set(text string) error {
	if text == "none" {
		*r = 0
		return nil
	}
	n, err := humanize.ParseBytes(strings.TrimSuffix(text, "/s"))
	switch {
	case err != nil || n > math.MaxInt64:
		return fmt.Errorf("%q is not a rate: write 50MB/s, 20MiB/s, or none", text)
	case n < daemon.RateLimitMin:
		return fmt.Errorf("%q is less than %v, at which a move looks stuck; none is no limit", text, byteRate(daemon.RateLimitMin))
	}
	*r = byteRate(n)
	return nil
}

// Type is what help calls the value.
func (r *byteRate) Type() string { return "rate" }
