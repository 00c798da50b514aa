package daemon

import "golang.org/x/sys/unix"

// diskFree is what a user may still write to dir's file system, and its size.
func diskFree(dir string) (free, total uint64, ok bool) {
	var st unix.Statvfs_t
	if err := unix.Statvfs(dir, &st); err != nil {
		return 0, 0, false
	}
	return st.Bavail * st.Frsize, st.Blocks * st.Frsize, true
}
