//go:build linux || darwin || freebsd

package daemon

import "golang.org/x/sys/unix"

// diskFree is what a user may still write to dir's file system, and its size.
func diskFree(dir string) (free, total uint64, ok bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Bsize <= 0 {
		return 0, 0, false
	}
	block := uint64(st.Bsize)
	if avail := int64(st.Bavail); avail > 0 { // FreeBSD's goes below zero, into root's share
		free = uint64(avail) * block
	}
	return free, uint64(st.Blocks) * block, true
}
