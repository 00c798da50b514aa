// Package program reads, from the bytes of a fuzzer, what a state machine is told: any valid message from any node, and
// what a node tells itself, in any order.
package program

import (
	"ferry/frame"
	"ferry/migration"
	"ferry/proto0500"
)

// The nodes of a stepped machine: itself, the two it may move between, its orchestrators, and one that is nobody.
var nodes = [...]proto0500.NodeID{1, 2, 3, 8, 9, 7}

const (
	Self         proto0500.NodeID = 2
	Orchestrator proto0500.NodeID = 9
	Origin       proto0500.Origin = 0xD43
)

// Program reads what a machine is told from the fuzzer's bytes. At its end every byte is 0.
type Program struct{ Rest []byte }

// Byte is the next byte.
func (p *Program) Byte() byte {
	if len(p.Rest) == 0 {
		return 0
	}
	b := p.Rest[0]
	p.Rest = p.Rest[1:]
	return b
}

func (p *Program) node() proto0500.NodeID { return nodes[int(p.Byte())%len(nodes)] }

// ChainAt gives the head of the one chain of these programs at a sequence number.
func ChainAt(seq byte) migration.Position {
	link := proto0500.Genesis(Origin)
	hash := link.Hash(nil)
	for range seq {
		link, _ = link.Next(hash, 0)
		hash = link.Hash(nil)
	}
	return migration.Position{Seq: link.Sequence, Head: link, Hash: hash}
}

// position is mostly one of the chain, and sometimes one that contradicts it.
func (p *Program) position() migration.Position {
	b := p.Byte()
	at := ChainAt(b & 7)
	if b&0xf0 == 0xf0 {
		at.Hash++
	}
	return at
}

func (p *Program) epoch(now frame.Epoch) frame.Epoch {
	switch b := p.Byte(); {
	case b < 160:
		return now
	case b < 200:
		return now + 1
	case b < 220:
		return now - min(now, 1)
	default:
		return frame.Epoch(b & 7)
	}
}

func (p *Program) reason() proto0500.Reason {
	return proto0500.NewReason(proto0500.Code(p.Byte()%7), "fuzz")
}

// message is any valid message about the daemon.
func (p *Program) message() proto0500.Message {
	o := Origin
	switch p.Byte() % 24 {
	case 0:
		return proto0500.Begin{DaemonOrigin: o, TargetNode: p.node(), Floor: frame.Epoch(p.Byte() & 3)}
	case 1:
		return proto0500.Prepare{DaemonOrigin: o, SourceNode: p.node()}
	case 2:
		return proto0500.TakeSnapshot{DaemonOrigin: o, TargetNode: p.node()}
	case 3:
		return proto0500.CutoverNotify{DaemonOrigin: o, TargetNode: p.node()}
	case 4:
		at := p.position()
		return proto0500.Seal{DaemonOrigin: o, Seq: at.Seq, Head: at.Head, HeadHash: at.Hash, StateDigest: uint64(p.Byte() & 3)}
	case 5:
		at := p.position()
		return proto0500.Ack{DaemonOrigin: o, Seq: at.Seq, Head: at.Head, HeadHash: at.Hash, StateDigest: uint64(p.Byte() & 3)}
	case 6:
		return proto0500.ActivateTarget{DaemonOrigin: o}
	case 7:
		return proto0500.ActivateAck{DaemonOrigin: o, ReplayedSeq: proto0500.Seq(p.Byte())}
	case 8:
		return proto0500.MigrationFailed{DaemonOrigin: o, Reason: p.reason()}
	case 9:
		return proto0500.Query{DaemonOrigin: o}
	case 10:
		at := p.position()
		return proto0500.Report{
			DaemonOrigin: o, Epoch: frame.Epoch(p.Byte() & 15), LiveEpoch: frame.Epoch(p.Byte() & 15),
			State: proto0500.State(p.Byte() % 10), Peer: p.node(), Orchestrator: p.node(), Copy: p.Byte()&1 == 0,
			Seq: at.Seq, Head: at.Head, HeadHash: at.Hash, Last: true,
		}
	case 11:
		return proto0500.Release{DaemonOrigin: o}
	case 12:
		return proto0500.Force{DaemonOrigin: o, DeadNode: p.node()}
	case 13:
		return proto0500.BufferedEvents{DaemonOrigin: o}
	case 14:
		return proto0500.BufferedEvents{DaemonOrigin: o, Events: proto0500.EventsOf(proto0500.Event{Link: p.position().Head})}
	case 15:
		return proto0500.SnapshotReady{DaemonOrigin: o, TotalChunks: 1}
	case 16:
		return proto0500.Transfer{DaemonOrigin: o, Final: p.Byte()&1 == 0}
	case 17:
		return proto0500.TransferStatus{DaemonOrigin: o}
	case 18:
		return proto0500.Recipient{DaemonOrigin: o, SealingKey: [32]byte{p.Byte()}}
	case 19:
		return proto0500.Prepared{DaemonOrigin: o, SealingKey: [32]byte{p.Byte()}}
	case 20:
		return proto0500.RestoreComplete{DaemonOrigin: o, RestoredSeq: proto0500.Seq(p.Byte() & 7)}
	case 21:
		at := p.position()
		return proto0500.ReplayComplete{DaemonOrigin: o, ReplayedSeq: at.Seq, TargetHead: at.Head}
	case 22:
		return proto0500.CleanupComplete{DaemonOrigin: o}
	default:
		return proto0500.Rejected{DaemonOrigin: o, Refused: proto0500.KindPrepare, Reason: proto0500.RejectWrongState}
	}
}

// Frame is a message from any node, mostly of the epoch now.
func (p *Program) Frame(now frame.Epoch) migration.Frame {
	f := migration.Frame{Message: p.message(), From: p.node(), Epoch: p.epoch(now)}
	f.Orchestrator = f.From == 8 || f.From == Orchestrator
	switch f.Message.(type) {
	case proto0500.Begin:
		f.Epoch = 0
	case proto0500.Prepare:
		if b := p.Byte(); b > 200 {
			r := p.reason()
			f.Verdict = &r
		}
	}
	return f
}

// Input is anything that a participant can be told.
func (p *Program) Input(now frame.Epoch) migration.Input {
	switch p.Byte() % 16 {
	case 0:
		at := p.position()
		return migration.Frozen{Epoch: p.epoch(now), Round: uint32(p.Byte() & 3), Seq: at.Seq, Head: at.Head, Hash: at.Hash}
	case 1:
		at := p.position()
		return migration.SnapshotComplete{Epoch: p.epoch(now), Seq: at.Seq, Hash: at.Hash}
	case 2:
		at := p.position()
		return migration.Restored{Epoch: p.epoch(now), Seq: at.Seq, Head: at.Head, Hash: at.Hash}
	case 3:
		at := p.position()
		return migration.Event{From: p.node(), Epoch: p.epoch(now), Link: at.Head, Hash: at.Hash}
	case 4:
		return migration.Failed{Epoch: p.epoch(now), Reason: p.reason()}
	case 5:
		return migration.PeerLost{Peer: p.node()}
	case 6:
		return migration.Reconnected{Peer: p.node()}
	case 7:
		return migration.Fired{Timer: migration.Timer(p.Byte() % 7), Epoch: p.epoch(now)}
	}
	return p.Frame(now)
}

// MoveInput is anything that an orchestrator can be told.
func (p *Program) MoveInput(now frame.Epoch) migration.MoveInput {
	switch p.Byte() % 12 {
	case 0:
		return migration.Cancel{}
	case 1:
		return migration.PeerLost{Peer: p.node()}
	case 2:
		return migration.Reconnected{Peer: p.node()}
	case 3, 4:
		return migration.Fired{Timer: migration.Timer(p.Byte() % 7), Epoch: p.epoch(now)}
	}
	return p.Frame(now)
}
