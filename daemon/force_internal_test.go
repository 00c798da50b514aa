package daemon

import (
	"testing"

	"ferry/migration"
	"ferry/proto0500"
)

// TestContradicts: what shows a second authority, and what is only late.
func TestContradicts(t *testing.T) {
	reason := proto0500.NewReason(proto0500.CodeStateFailed, "x")
	notReady := proto0500.NewReason(proto0500.CodeNotReady, "")
	forced := migration.Record{Epoch: 6, LiveEpoch: 2, State: migration.RecordServing}         // a source, past 5 by force
	live := migration.Record{Epoch: 5, LiveEpoch: 5, State: migration.RecordServing, Peer: 1}  // a target, at 5 by force
	begun := migration.Record{Epoch: 6, LiveEpoch: 5, State: migration.RecordServing, Peer: 3} // the same, moving on
	for _, c := range []struct {
		name string
		rec  migration.Record
		f    migration.Frame
		want bool
	}{
		{"the dead target went live", forced, migration.Frame{From: 1, Epoch: 5, Message: proto0500.ActivateAck{}}, true},
		{"an ack of a stay before", forced, migration.Frame{From: 1, Epoch: 1, Message: proto0500.ActivateAck{}}, false},
		{"and says so in a report", forced, migration.Frame{From: 1, Epoch: 5, Message: proto0500.Report{Epoch: 5, LiveEpoch: 5, State: proto0500.StateServing, Copy: true}}, true},
		{"a target that never was live", forced, migration.Frame{From: 1, Epoch: 5, Message: proto0500.Report{Epoch: 5}}, false},
		{"refused", forced, migration.Frame{From: 1, Epoch: 5, Message: proto0500.MigrationFailed{Reason: reason}}, false},
		{"the dead source serves on", live, migration.Frame{From: 1, Epoch: 5, Message: proto0500.MigrationFailed{Reason: reason}}, true},
		{"and says so in a report", live, migration.Frame{From: 1, Epoch: 5, Message: proto0500.Report{Epoch: 5, LiveEpoch: 2, State: proto0500.StateServing, Copy: true}}, true},
		{"the source has retired", live, migration.Frame{From: 1, Epoch: 5, Message: proto0500.Report{Epoch: 5, LiveEpoch: 2, State: proto0500.StateRetired, Copy: true}}, false},
		{"a report of before", live, migration.Frame{From: 1, Epoch: 4, Message: proto0500.Report{Epoch: 4, LiveEpoch: 2, State: proto0500.StateServing, Copy: true}}, false},
		{"a wish of an orchestrator there", live, migration.Frame{From: 1, Epoch: 5, Message: proto0500.MigrationFailed{Reason: notReady}}, false},
		{"a wish of another", live, migration.Frame{From: 9, Epoch: 5, Message: proto0500.MigrationFailed{Reason: reason}}, false},
		{"the next target refuses", begun, migration.Frame{From: 3, Epoch: 6, Message: proto0500.MigrationFailed{Reason: reason}}, false},
		{"here is no authority", migration.Record{Epoch: 5, LiveEpoch: 2, State: migration.RecordRetired, Peer: 1}, migration.Frame{From: 1, Epoch: 5, Message: proto0500.ActivateAck{}}, false},
	} {
		if why := contradicts(c.rec, c.f); (why != "") != c.want {
			t.Errorf("%s: %q", c.name, why)
		}
	}
}
