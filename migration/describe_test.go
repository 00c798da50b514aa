package migration

import (
	"fmt"

	"ferry/proto0500"
)

func (f flight) String() string {
	if f.local != nil {
		switch in := f.local.(type) {
		case Frozen:
			return fmt.Sprintf("%s local frozen@%d round=%d seq=%d", names(f.to), in.Epoch, in.Round, in.Seq)
		case Restored:
			return fmt.Sprintf("%s local restored@%d seq=%d", names(f.to), in.Epoch, in.Seq)
		}
		return fmt.Sprintf("%s local %T", names(f.to), f.local)
	}
	return fmt.Sprintf("%s>%s %s@%d%s", names(f.from), names(f.to), f.msg.Kind(), f.epoch, details(f.msg))
}

func details(m proto0500.Message) string {
	switch m := m.(type) {
	case proto0500.Begin:
		return fmt.Sprintf(" target=%s floor=%d", names(m.TargetNode), m.Floor)
	case proto0500.MigrationFailed:
		return fmt.Sprintf(" (%v)", m.Reason)
	case proto0500.BufferedEvents:
		if m.Events.Len() == 0 {
			return " empty"
		}
		for ev := range m.Events.All() {
			return fmt.Sprintf(" seq=%d", ev.Link.Sequence)
		}
	case proto0500.Transfer:
		return fmt.Sprintf(" seq=%d", m.SeqThrough)
	case proto0500.RestoreComplete:
		return fmt.Sprintf(" seq=%d", m.RestoredSeq)
	case proto0500.ReplayComplete:
		return fmt.Sprintf(" seq=%d", m.ReplayedSeq)
	case proto0500.ActivateAck:
		return fmt.Sprintf(" seq=%d", m.ReplayedSeq)
	case proto0500.Seal:
		return fmt.Sprintf(" seq=%d", m.Seq)
	case proto0500.Ack:
		return fmt.Sprintf(" seq=%d", m.Seq)
	case proto0500.Report:
		return fmt.Sprintf(" %v@%d live=%d copy=%t seq=%d", m.State, m.Epoch, m.LiveEpoch, m.Copy, m.Seq)
	case proto0500.Rejected:
		return fmt.Sprintf(" of %v: %v", m.Refused, m.Reason)
	}
	return ""
}

// describe is an effect in a script's output; timers and sends are left out, the frames show those.
func describe(fx any) string {
	switch f := fx.(type) {
	case Persist:
		return fmt.Sprintf("persist %v@%d live=%d", f.Record.State, f.Record.Epoch, f.Record.LiveEpoch)
	case Flush:
		return fmt.Sprintf("flush %d", f.Seq)
	case StartCopy:
		return "start copy"
	case StopCopy:
		return "stop copy"
	case Freeze:
		return "freeze"
	case Thaw:
		return "thaw"
	case Retire:
		return "retire for " + names(f.Target)
	case Serve:
		return "serve"
	case DropState:
		return "drop state"
	case Prepare:
		return "prepare"
	case Restore:
		return "restore"
	case Apply:
		return "apply"
	case DropAttempt:
		return fmt.Sprintf("drop attempt %d", f.Epoch)
	case Activate:
		return "activate"
	case PersistMove:
		return fmt.Sprintf("persist move %d %v", f.Record.Epoch, f.Record.Outcome)
	case Progress:
		return fmt.Sprintf("phase %v", f.Phase)
	case CaughtUp:
		return fmt.Sprintf("caught up at %d", f.Seq)
	case Notice:
		return "notice: " + f.Text
	case Done:
		text := fmt.Sprintf("done: %v epoch=%d", f.Result.Outcome, f.Result.Epoch)
		if f.Result.Outcome == OutcomeCommitted {
			text += fmt.Sprintf(" final=%d", f.Result.FinalSeq)
		}
		if f.Result.Text != "" {
			text += " (" + f.Result.Text + ")"
		}
		return text
	}
	return ""
}
