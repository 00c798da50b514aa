// Package snapshot is the data plane of a move: the CDS1 envelope of a daemon's state, its cutting into chunks at the
// source, and their placement at the target (protocol.md, sections 2 and 4).
//
// The state is never in memory as a whole. A Source is an io.ReaderAt over header, state and trailer; a Chunker reads
// a chunk's payload from it straight into the frame that is sent; a Placer writes the payload of a chunk straight from
// the frame that came to its place in the state's file. The control plane sees ranges and digests, never these bytes.
//
// Between nodes of ours a Packer gives each chunk the form in which it gets there soonest: a header for zeros and for what
// the target has from before, s2 or zstd where they pay, its bytes where they do not. An Unpacker undoes it.
//
// A Placer serves a transfer whose sizes both sides agreed on. A Reassembler serves a peer that knows only the ten
// messages, and keeps the rules of net-mesh's.
//
// All integers are little endian.
package snapshot
