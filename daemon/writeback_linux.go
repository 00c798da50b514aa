package daemon

import (
	"os"

	"golang.org/x/sys/unix"
)

// newWriteback is for f. It is a hint: failing costs time only, and what is
// durable is said by the sync at the end.
func newWriteback(f *os.File) *writeback {
	fd := int(f.Fd())
	return &writeback{
		start: func(off, n int64) { _ = unix.SyncFileRange(fd, off, n, unix.SYNC_FILE_RANGE_WRITE) },
		wait: func(off, n int64) {
			_ = unix.SyncFileRange(fd, off, n,
				unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
		},
	}
}
