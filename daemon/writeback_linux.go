package daemon

import "golang.org/x/sys/unix"

// writeback starts bringing what was just written to disk, so that the sync at
// the end finds little left, and the authority's own syncs on the same disk do
// not queue behind a gigabyte of ours. It is a hint: failing costs time only.
func (s *stateFile) writeback(off, n int64) {
	_ = unix.SyncFileRange(int(s.f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}
