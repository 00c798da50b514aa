package frame

import "math"

// Limits bound what a peer may send and what we may send it. They are values agreed with a peer, handed to every
// encoder and decoder, and checked before anything is allocated.
type Limits struct {
	MessageBytesMax      uint32 // a whole message: what Header.Length may say
	ChunkBytesMax        uint32 // snapshot_bytes of one SnapshotReady
	ChunksMax            uint32 // total_chunks of one snapshot
	EventsMax            uint32 // events in one BufferedEvents
	EventPayloadBytesMax uint32 // payload of one event
	TextBytesMax         uint16 // one text: a failure's message, a name
}

// NetMesh are the limits of the net-mesh crate, which every peer of subprotocol 0x0500 keeps. The crate has none for a
// whole message: a million events of 7,000 bytes would be longer than a length field can say.
func NetMesh() Limits {
	return Limits{
		MessageBytesMax:      math.MaxUint32,
		ChunkBytesMax:        7_000,
		ChunksMax:            700_000,
		EventsMax:            1_000_000,
		EventPayloadBytesMax: 7_000,
		TextBytesMax:         math.MaxUint16,
	}
}

// Default are the limits that our own nodes offer each other. A message of 8 MiB holds the largest chunk and the
// largest event; the chunks of one snapshot come to 5 TiB.
func Default() Limits {
	return Limits{
		MessageBytesMax:      8 << 20,
		ChunkBytesMax:        1 << 20,
		ChunksMax:            8 * 700_000,
		EventsMax:            1_000_000,
		EventPayloadBytesMax: 4<<20 + 64<<10,
		TextBytesMax:         math.MaxUint16,
	}
}
