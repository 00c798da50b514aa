package proto0500

import "ferry/frame"

// Prepare asks the target whether it will take a daemon: who it is, how large, and what the source would like to send.
// The answer is Prepared, or MigrationFailed.
//
//	off size field
//	  0    1  discriminant          0x82
//	  1    8  daemon_origin
//	  9    8  source_node
//	 17   32  entity_id             the daemon's public key
//	 49    1  name_len              0..255
//	 50    n  name                  UTF-8
//	  …    1  kind_len              0..255
//	  …    k  kind                  UTF-8: which factory restores it
//	  …    4  schema                of the state
//	  …    8  state_bytes
//	  …    4  chunk_bytes
//	  …    4  event_payload_bytes
type Prepare struct {
	DaemonOrigin      Origin
	SourceNode        NodeID
	EntityID          [32]byte
	Name              Text // borrowed in a decoded message
	DaemonKind        Text // borrowed in a decoded message; kind on the wire
	Schema            uint32
	StateBytes        uint64
	ChunkBytes        uint32
	EventPayloadBytes uint32
}

// Kind is KindPrepare.
func (m Prepare) Kind() Kind { return KindPrepare }

// Origin is the daemon's.
func (m Prepare) Origin() Origin { return m.DaemonOrigin }

// Append appends the message. A name or kind over 255 bytes, or not UTF-8, is an error.
func (m Prepare) Append(dst []byte, lim *frame.Limits) ([]byte, error) {
	if err := checkNames(KindPrepare, m.Name, m.DaemonKind, lim); err != nil {
		return dst, err
	}
	dst = appendPair(dst, KindPrepare, m.DaemonOrigin, uint64(m.SourceNode))
	dst = append(dst, m.EntityID[:]...)
	dst = appendNames(dst, m.Name, m.DaemonKind)
	dst = le.AppendUint32(dst, m.Schema)
	dst = le.AppendUint64(dst, m.StateBytes)
	dst = le.AppendUint32(dst, m.ChunkBytes)
	return le.AppendUint32(dst, m.EventPayloadBytes), nil
}

// Decode reads the message from b, which must hold nothing else. Name and DaemonKind borrow from b.
func (m *Prepare) Decode(b []byte, lim *frame.Limits) error {
	var c frame.Cursor
	c.Reset("Prepare", b)
	c.Expect("discriminant", uint8(KindPrepare))
	m.DaemonOrigin = Origin(c.U64("daemon_origin"))
	m.SourceNode = NodeID(c.U64("source_node"))
	m.EntityID = c.Array32("entity_id")
	m.Name, m.DaemonKind = readNames(&c, lim)
	m.Schema = c.U32("schema")
	m.StateBytes = c.U64("state_bytes")
	m.ChunkBytes = c.U32("chunk_bytes")
	m.EventPayloadBytes = c.U32("event_payload_bytes")
	return c.Done()
}

// A daemon's name and kind, in Prepare and in Report: each a length of one byte and UTF-8.

func checkNames(k Kind, name, kind Text, lim *frame.Limits) error {
	if err := checkText(k, "name", name, 255, lim); err != nil {
		return err
	}
	return checkText(k, "kind", kind, 255, lim)
}

func appendNames(dst []byte, name, kind Text) []byte {
	dst = append(append(dst, byte(len(name))), name...)
	return append(append(dst, byte(len(kind))), kind...)
}

func readNames(c *frame.Cursor, lim *frame.Limits) (name, kind Text) {
	name = readText(c, "name", int(c.U8("name_len")), lim)
	kind = readText(c, "kind", int(c.U8("kind_len")), lim)
	return name, kind
}
