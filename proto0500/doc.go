// Package proto0500 has the messages of subprotocol 0x0500: the ten that the net-mesh crate knows, byte for byte as it
// writes them, and our own extensions from 0x80 up (protocol.md, sections 2 and 3). They are values without behaviour.
//
// All integers are little endian, without padding. A message is its discriminant, one byte, and its fields; bytes left
// over after it are an error, unlike in the crate. Append checks the same limits as Decode. Neither allocates, except
// to describe an error: control fields are copied, and snapshot bytes, payloads and texts are borrowed from the bytes
// that were decoded. Clone makes a message that owns its own.
package proto0500
