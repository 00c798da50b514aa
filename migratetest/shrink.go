package migratetest

import (
	"slices"
	"time"
)

// shrink makes a fault's trial small: the same kind of fault with fewer events.
func (k *kit) shrink(c trial, f *fault) *fault {
	end := time.Now().Add(k.opts.Timeout / 2)
	smaller := func(change func(trial) trial) bool {
		next := change(c)
		for range 2 { // chance may be the fault
			if g := k.try(next); g != nil && g.kind == f.kind {
				c, f = next, g
				return true
			}
		}
		return false
	}
	for _, part := range []func(*trial) *[][]byte{
		func(c *trial) *[][]byte { return &c.after }, func(c *trial) *[][]byte { return &c.before },
	} {
		for size := len(*part(&c)); size > 0; size /= 2 {
			for at := 0; at < len(*part(&c)) && time.Now().Before(end); {
				if !smaller(func(c trial) trial {
					list := *part(&c)
					*part(&c) = slices.Delete(slices.Clone(list), at, min(at+size, len(list)))
					return c
				}) {
					at += size
				}
			}
		}
	}
	return f
}
