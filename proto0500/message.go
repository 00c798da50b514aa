package proto0500

import (
	"fmt"

	"ferry/frame"
)

// Origin names a daemon: it is derived from the daemon's public key.
type Origin uint64

// NodeID names a node: it is derived from the node's public key.
type NodeID uint64

// Seq is the sequence number of an event in its daemon's chain; 0 is the genesis link, which carries no event.
type Seq uint64

// Message is one of the messages of this package, as a value: TakeSnapshot, not *TakeSnapshot.
type Message interface {
	// Kind is the discriminant.
	Kind() Kind
	// Origin is the daemon that the message is about; 0 for Hello, which is about none.
	Origin() Origin
	// Append appends the message, discriminant first. On error dst is returned as it was.
	Append(dst []byte, lim *frame.Limits) ([]byte, error)
}

// DecodeBase decodes one of the ten messages that every peer knows. What it returns borrows from b.
func DecodeBase(b []byte, lim *frame.Limits) (Message, error) {
	if len(b) > 0 && Kind(b[0]).Extension() {
		return nil, unknownKind(b[0])
	}
	return Decode(b, lim)
}

// Decode decodes any message of this package. What it returns borrows from b. It allocates the value it returns; who
// knows the kind, and cares, calls that kind's own Decode.
func Decode(b []byte, lim *frame.Limits) (Message, error) {
	if len(b) == 0 {
		return nil, &frame.DecodeError{Message: "message", Field: "discriminant", Err: frame.ErrTruncated}
	}
	switch Kind(b[0]) {
	case KindTakeSnapshot:
		return decode[TakeSnapshot](b, lim)
	case KindSnapshotReady:
		return decode[SnapshotReady](b, lim)
	case KindRestoreComplete:
		return decode[RestoreComplete](b, lim)
	case KindReplayComplete:
		return decode[ReplayComplete](b, lim)
	case KindCutoverNotify:
		return decode[CutoverNotify](b, lim)
	case KindCleanupComplete:
		return decode[CleanupComplete](b, lim)
	case KindMigrationFailed:
		return decode[MigrationFailed](b, lim)
	case KindBufferedEvents:
		return decode[BufferedEvents](b, lim)
	case KindActivateTarget:
		return decode[ActivateTarget](b, lim)
	case KindActivateAck:
		return decode[ActivateAck](b, lim)
	case KindHello:
		return decode[Hello](b, lim)
	case KindBegin:
		return decode[Begin](b, lim)
	case KindPrepare:
		return decode[Prepare](b, lim)
	case KindPrepared:
		return decode[Prepared](b, lim)
	case KindTransfer:
		return decode[Transfer](b, lim)
	case KindTransferStatus:
		return decode[TransferStatus](b, lim)
	case KindSeal:
		return decode[Seal](b, lim)
	case KindAck:
		return decode[Ack](b, lim)
	case KindQuery:
		return decode[Query](b, lim)
	case KindReport:
		return decode[Report](b, lim)
	case KindRelease:
		return decode[Release](b, lim)
	case KindProgress:
		return decode[Progress](b, lim)
	case KindRejected:
		return decode[Rejected](b, lim)
	case KindForce:
		return decode[Force](b, lim)
	case KindChunk:
		return decode[Chunk](b, lim)
	case KindHave:
		return decode[Have](b, lim)
	case KindPace:
		return decode[Pace](b, lim)
	case KindRecipient:
		return decode[Recipient](b, lim)
	}
	return nil, unknownKind(b[0])
}

// decode makes a value of the type that decodes itself through *T.
func decode[T Message, P interface {
	*T
	Decode(b []byte, lim *frame.Limits) error
}](b []byte, lim *frame.Limits) (Message, error) {
	var m T
	if err := P(&m).Decode(b, lim); err != nil {
		return nil, err
	}
	return m, nil
}

// Clone returns m with its own copy of everything it borrowed.
func Clone(m Message) Message {
	switch m := m.(type) {
	case SnapshotReady:
		m.SnapshotBytes = clone(m.SnapshotBytes)
		return m
	case MigrationFailed:
		m.Reason = m.Reason.Clone()
		return m
	case BufferedEvents:
		m.Events = m.Events.Clone()
		return m
	case Prepare:
		m.Name, m.DaemonKind = clone(m.Name), clone(m.DaemonKind)
		return m
	case TransferStatus:
		m.Ranges = m.Ranges.Clone()
		return m
	case Report:
		m.Name, m.DaemonKind = clone(m.Name), clone(m.DaemonKind)
		return m
	case Progress:
		m.Counters = m.Counters.Clone()
		return m
	case Rejected:
		m.Text = clone(m.Text)
		return m
	case Chunk:
		m.Bytes = clone(m.Bytes)
		return m
	case Have:
		m.Digests = m.Digests.Clone()
		return m
	}
	return m
}

func clone[B ~[]byte](b B) B {
	if len(b) == 0 {
		return nil
	}
	return append(make(B, 0, len(b)), b...)
}

func unknownKind(d byte) error {
	return &frame.DecodeError{Message: "message", Field: "discriminant", Err: fmt.Errorf("%w: %d", frame.ErrUnknown, d)}
}
