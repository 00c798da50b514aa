package proto0500

import (
	"fmt"

	"ferry/frame"
)

// RejectReason is why a message was refused: a number on the wire. One that is not known is passed on, not refused.
type RejectReason uint8

const (
	RejectWrongPeer     RejectReason = 1
	RejectUnknownDaemon RejectReason = 2
	RejectStaleEpoch    RejectReason = 3
	RejectMalformed     RejectReason = 4
	RejectUnsupported   RejectReason = 5
	RejectWrongState    RejectReason = 6
	RejectNotReady      RejectReason = 7 // says in words what the NotReady that follows is about
)

func (r RejectReason) String() string {
	switch r {
	case RejectWrongPeer:
		return "WrongPeer"
	case RejectUnknownDaemon:
		return "UnknownDaemon"
	case RejectStaleEpoch:
		return "StaleEpoch"
	case RejectMalformed:
		return "Malformed"
	case RejectUnsupported:
		return "Unsupported"
	case RejectWrongState:
		return "WrongState"
	case RejectNotReady:
		return "NotReady"
	}
	return fmt.Sprintf("reject(%d)", uint8(r))
}

// Rejected says that a message was refused and changed nothing. It promises nothing about the migration.
//
//	off size field
//	  0    1  discriminant   0x8c
//	  1    8  daemon_origin  of the refused message
//	  9    1  kind           of the refused message
//	 10    1  reason
//	 11    2  len            of the text, 0..TextBytesMax
//	 13  len  text           UTF-8
type Rejected struct {
	DaemonOrigin Origin
	Refused      Kind // kind on the wire
	Reason       RejectReason
	Text         Text // borrowed in a decoded message
}

// Kind is KindRejected.
func (m Rejected) Kind() Kind { return KindRejected }

// Origin is the daemon's.
func (m Rejected) Origin() Origin { return m.DaemonOrigin }

// Append appends the message. A text that is too long, or not UTF-8, is an error.
func (m Rejected) Append(dst []byte, lim *frame.Limits) ([]byte, error) {
	if err := checkText(KindRejected, "text", m.Text, 1<<16-1, lim); err != nil {
		return dst, err
	}
	dst = append(appendOrigin(dst, KindRejected, m.DaemonOrigin), byte(m.Refused), byte(m.Reason))
	return append(le.AppendUint16(dst, uint16(len(m.Text))), m.Text...), nil
}

// Decode reads the message from b, which must hold nothing else. The text borrows from b.
func (m *Rejected) Decode(b []byte, lim *frame.Limits) error {
	var c frame.Cursor
	c.Reset("Rejected", b)
	c.Expect("discriminant", uint8(KindRejected))
	m.DaemonOrigin = Origin(c.U64("daemon_origin"))
	m.Refused = Kind(c.U8("kind"))
	m.Reason = RejectReason(c.U8("reason"))
	m.Text = readText(&c, "text", int(c.U16("len")), lim)
	return c.Done()
}
