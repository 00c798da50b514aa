package proto0500

import "fmt"

// Kind is the discriminant of a message.
type Kind uint8

// Frozen: the ten of the crate.
const (
	KindTakeSnapshot    Kind = 0
	KindSnapshotReady   Kind = 1
	KindRestoreComplete Kind = 2
	KindReplayComplete  Kind = 3
	KindCutoverNotify   Kind = 4
	KindCleanupComplete Kind = 5
	KindMigrationFailed Kind = 6
	KindBufferedEvents  Kind = 7
	KindActivateTarget  Kind = 8
	KindActivateAck     Kind = 9
)

// Ours: sent only to peers that offered them in their hello.
const (
	KindHello          Kind = 0x80
	KindBegin          Kind = 0x81
	KindPrepare        Kind = 0x82
	KindPrepared       Kind = 0x83
	KindTransfer       Kind = 0x84
	KindTransferStatus Kind = 0x85
	KindSeal           Kind = 0x86
	KindAck            Kind = 0x87
	KindQuery          Kind = 0x88
	KindReport         Kind = 0x89
	KindRelease        Kind = 0x8a
	KindProgress       Kind = 0x8b
	KindRejected       Kind = 0x8c
	KindForce          Kind = 0x8d
	KindChunk          Kind = 0x8e
	KindHave           Kind = 0x8f
	KindPace           Kind = 0x90
	KindRecipient      Kind = 0x91
)

// Extension says that the kind is not one of the crate's.
func (k Kind) Extension() bool { return k >= 0x80 }

func (k Kind) String() string {
	switch k {
	case KindTakeSnapshot:
		return "TakeSnapshot"
	case KindSnapshotReady:
		return "SnapshotReady"
	case KindRestoreComplete:
		return "RestoreComplete"
	case KindReplayComplete:
		return "ReplayComplete"
	case KindCutoverNotify:
		return "CutoverNotify"
	case KindCleanupComplete:
		return "CleanupComplete"
	case KindMigrationFailed:
		return "MigrationFailed"
	case KindBufferedEvents:
		return "BufferedEvents"
	case KindActivateTarget:
		return "ActivateTarget"
	case KindActivateAck:
		return "ActivateAck"
	case KindHello:
		return "Hello"
	case KindBegin:
		return "Begin"
	case KindPrepare:
		return "Prepare"
	case KindPrepared:
		return "Prepared"
	case KindTransfer:
		return "Transfer"
	case KindTransferStatus:
		return "TransferStatus"
	case KindSeal:
		return "Seal"
	case KindAck:
		return "Ack"
	case KindQuery:
		return "Query"
	case KindReport:
		return "Report"
	case KindRelease:
		return "Release"
	case KindProgress:
		return "Progress"
	case KindRejected:
		return "Rejected"
	case KindForce:
		return "Force"
	case KindChunk:
		return "Chunk"
	case KindHave:
		return "Have"
	case KindPace:
		return "Pace"
	case KindRecipient:
		return "Recipient"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}
