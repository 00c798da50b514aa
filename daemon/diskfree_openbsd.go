package daemon

import "golang.org/x/sys/unix"

// diskFree is what a user may still write to dir's file system, and its size.
func diskFree(dir string) (free, total uint64, ok bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, false
	}
	block := uint64(st.F_bsize)
	return uint64(max(st.F_bavail, 0)) * block, st.F_blocks * block, true
}
