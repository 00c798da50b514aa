//go:build !unix

package daemon

import "io/fs"

// fileBytes is how long a file is; what it takes on the disk, this system does not say.
func fileBytes(info fs.FileInfo) int64 { return info.Size() }
