// Package frame is the envelope in which messages of subprotocol 0x0500 travel: a header of 24 bytes, then the
// message, whose first byte is its discriminant (protocol.md, section 3). It also has what every codec above it
// shares: the limits, one cursor to decode with, and the errors of both directions.
//
// All integers are little endian. Encoding appends to the caller's slice; decoding borrows from its input and never
// writes to it. Neither allocates, except to describe an error.
package frame
