package proto0500

import (
	"fmt"

	"ferry/frame"
)

// Report is where a node stands with a daemon: its record, and the attempt in memory.
//
//	off size field
//	  0    1  discriminant   0x89
//	  1    8  daemon_origin
//	  9    8  epoch          the highest handed out or taken part in
//	 17    8  live_epoch     at which the node last became the authority
//	 25    1  state          0..9, see State
//	 26    8  peer           node id
//	 34    8  orchestrator   node id
//	 42    1  copy           1: the state is still here
//	 43    8  seq            of the chain's head
//	 51   32  head           its Link
//	 83    8  head_hash      XXH3-64 of that link and its payload
//	 91    8  boot_id
//	 99    1  last           1: nothing more answers this query
//	100   32  entity_id      the daemon's public key
//	132    4  schema         of the state
//	136    8  state_bytes
//	144    1  name_len       0..255
//	145    n  name           UTF-8
//	  …    1  kind_len       0..255
//	  …    k  kind           UTF-8
type Report struct {
	DaemonOrigin Origin
	Epoch        frame.Epoch
	LiveEpoch    frame.Epoch
	State        State
	Peer         NodeID
	Orchestrator NodeID
	Copy         bool
	Seq          Seq
	Head         Link
	HeadHash     uint64
	BootID       uint64
	Last         bool
	EntityID     [32]byte
	Schema       uint32
	StateBytes   uint64
	Name         Text // borrowed in a decoded message
	DaemonKind   Text // borrowed in a decoded message; kind on the wire
}

// Kind is KindReport.
func (m Report) Kind() Kind { return KindReport }

// Origin is the daemon's.
func (m Report) Origin() Origin { return m.DaemonOrigin }

// Append appends the message. An unknown state, or a name or kind over 255 bytes or not UTF-8, is an error.
func (m Report) Append(dst []byte, lim *frame.Limits) ([]byte, error) {
	if !m.State.known() {
		return dst, encodeError(KindReport, "state", fmt.Errorf("%w: %v", frame.ErrValue, m.State))
	}
	if err := checkNames(KindReport, m.Name, m.DaemonKind, lim); err != nil {
		return dst, err
	}
	dst = appendPair(dst, KindReport, m.DaemonOrigin, uint64(m.Epoch))
	dst = append(le.AppendUint64(dst, uint64(m.LiveEpoch)), byte(m.State))
	dst = le.AppendUint64(dst, uint64(m.Peer))
	dst = le.AppendUint64(dst, uint64(m.Orchestrator))
	dst = appendFlag(dst, m.Copy)
	dst = m.Head.Append(le.AppendUint64(dst, uint64(m.Seq)))
	dst = le.AppendUint64(dst, m.HeadHash)
	dst = appendFlag(le.AppendUint64(dst, m.BootID), m.Last)
	dst = append(dst, m.EntityID[:]...)
	dst = le.AppendUint64(le.AppendUint32(dst, m.Schema), m.StateBytes)
	return appendNames(dst, m.Name, m.DaemonKind), nil
}

// Decode reads the message from b, which must hold nothing else. Name and DaemonKind borrow from b.
func (m *Report) Decode(b []byte, lim *frame.Limits) error {
	var c frame.Cursor
	c.Reset("Report", b)
	c.Expect("discriminant", uint8(KindReport))
	m.DaemonOrigin = Origin(c.U64("daemon_origin"))
	m.Epoch = frame.Epoch(c.U64("epoch"))
	m.LiveEpoch = frame.Epoch(c.U64("live_epoch"))
	m.State = State(c.U8("state"))
	if !m.State.known() {
		c.FailAt("state", 25, fmt.Errorf("%w: %v", frame.ErrValue, m.State))
	}
	m.Peer = NodeID(c.U64("peer"))
	m.Orchestrator = NodeID(c.U64("orchestrator"))
	m.Copy = flag(&c, "copy")
	m.Seq = Seq(c.U64("seq"))
	m.Head = linkOf(c.Bytes("head", LinkBytes))
	m.HeadHash = c.U64("head_hash")
	m.BootID = c.U64("boot_id")
	m.Last = flag(&c, "last")
	m.EntityID = c.Array32("entity_id")
	m.Schema = c.U32("schema")
	m.StateBytes = c.U64("state_bytes")
	m.Name, m.DaemonKind = readNames(&c, lim)
	return c.Done()
}
