// Package state has the fuzz targets of what is built on the decoders: snapshots, chunks, identities and the state
// machines. They see what a user of the module can import, and nothing else.
package state
