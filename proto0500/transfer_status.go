package proto0500

import "ferry/frame"

// TransferStatus tells the source how far the target is: which chunks of a snapshot it has, and which events it has
// replayed, so that a transfer is resumed. It answers every Transfer, the final one too.
//
//	off size field
//	  0    1  discriminant   0x85
//	  1    8  daemon_origin
//	  9    8  seq_through    of the snapshot
//	 17    8  events_through the last event that was replayed; 0: none
//	 25    4  count
//	 29    …  ranges         count × Range, ascending, disjoint
type TransferStatus struct {
	DaemonOrigin  Origin
	SeqThrough    Seq
	EventsThrough Seq
	Ranges        Ranges // borrowed in a decoded message
}

// Kind is KindTransferStatus.
func (m TransferStatus) Kind() Kind { return KindTransferStatus }

// Origin is the daemon's.
func (m TransferStatus) Origin() Origin { return m.DaemonOrigin }

// Append appends the message. Ranges that are empty, out of order, or beyond ChunksMax are an error.
func (m TransferStatus) Append(dst []byte, lim *frame.Limits) ([]byte, error) {
	if _, err := m.Ranges.check(lim); err != nil {
		return dst, encodeError(KindTransferStatus, "ranges", err)
	}
	dst = appendPair(dst, KindTransferStatus, m.DaemonOrigin, uint64(m.SeqThrough))
	dst = le.AppendUint64(dst, uint64(m.EventsThrough))
	dst = le.AppendUint32(dst, uint32(m.Ranges.Len()))
	for v := range m.Ranges.All() {
		dst = le.AppendUint32(le.AppendUint32(dst, v.First), v.Chunks)
	}
	return dst, nil
}

// Decode reads the message from b, which must hold nothing else. The ranges borrow from b.
func (m *TransferStatus) Decode(b []byte, lim *frame.Limits) error {
	var c frame.Cursor
	c.Reset("TransferStatus", b)
	c.Expect("discriminant", uint8(KindTransferStatus))
	m.DaemonOrigin = Origin(c.U64("daemon_origin"))
	m.SeqThrough = Seq(c.U64("seq_through"))
	m.EventsThrough = Seq(c.U64("events_through"))
	m.Ranges = Ranges{}
	count := c.U32("count")
	if uint64(count) > uint64(c.Remaining()/rangeBytes) {
		c.FailAt("count", 25, errCountOverBytes)
	} else if count > 0 {
		m.Ranges.raw = c.Bytes("ranges", int(count)*rangeBytes)
		if i, err := m.Ranges.check(lim); err != nil {
			c.FailAt("ranges", 29+i*rangeBytes, err)
		}
	}
	return c.Done()
}
