//go:build unix

package daemon

import (
	"io/fs"
	"syscall"
)

// fileBytes is what a file takes on the disk: holes are nothing.
func fileBytes(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512
	}
	return info.Size()
}
