package proto0500

import "ferry/frame"

// MigrationFailed aborts, with a reason. From the target, any code but NotReady, it is the promise never to go live in
// the frame's epoch; from the source, to serve on; from an orchestrator a wish (safety.md, section 4).
//
//	off size field
//	  0    1  discriminant   6
//	  1    8  daemon_origin
//	  9    …  reason         see Reason: 2 bytes, 3, or 4 + len
type MigrationFailed struct {
	DaemonOrigin Origin
	Reason       Reason // its text is borrowed in a decoded message
}

// Kind is KindMigrationFailed.
func (m MigrationFailed) Kind() Kind { return KindMigrationFailed }

// Origin is the daemon's.
func (m MigrationFailed) Origin() Origin { return m.DaemonOrigin }

// Append appends the message. A code that is unknown, or a text that is too long or not UTF-8, is an error.
func (m MigrationFailed) Append(dst []byte, lim *frame.Limits) ([]byte, error) {
	out, err := m.Reason.append(appendOrigin(dst, KindMigrationFailed, m.DaemonOrigin), lim)
	if err != nil {
		return dst, err
	}
	return out, nil
}

// Decode reads the message from b, which must hold nothing else. The text borrows from b.
func (m *MigrationFailed) Decode(b []byte, lim *frame.Limits) error {
	var c frame.Cursor
	c.Reset("MigrationFailed", b)
	c.Expect("discriminant", uint8(KindMigrationFailed))
	m.DaemonOrigin = Origin(c.U64("daemon_origin"))
	m.Reason.read(&c, lim)
	return c.Done()
}
