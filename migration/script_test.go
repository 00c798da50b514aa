package migration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"ferry/frame"
	"ferry/proto0500"
)

// Conversations between roles. Nodes are S, T and U, orchestrators O and P; S has the daemon at first.
//
//	new [memory] [events=n]                a new world (quiet)
//	move source= target= [by=] [lag=] [tries=] [dry] [resume=epoch]
//	deputy of= target= chief=              the move of a source that drives it for a chief with only the ten messages
//	tell S kind [target=]                  what the chief says to it
//	plain T                                what T answers to an ActivateTarget without an epoch
//	run [until=…] [except=…] [double] [newest]
//	                                       deliver the oldest (newest) flight until none is left, or before one that matches
//	deliver match=… [keep]                 deliver one that matches; keep leaves it in flight
//	drop match=…                           lose all that match
//	again [epoch=] [match=…]               deliver everything ever sent, of that epoch, once more
//	inject from= to= epoch= kind= [target=]
//	write S [n]    crash S    fail S       n events; a restart; the next write to S's journal fails
//	fire S timer   lost S T   back S T     cancel [by]   verdict T code
//	flights        show
//
// quiet is for the way to where a script becomes interesting.
//
// What follows from an input is indented below it: states, then effects in order. Sends and timers are not printed: the
// frames appear when they are delivered.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/script", func(t *testing.T, path string) {
		var w *world
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) (out string) {
			if d.Cmd == "new" {
				events := 2
				d.MaybeScanArgs(t, "events", &events)
				w = newWorld(!d.HasArg("memory"), events)
				return ""
			}
			w.trace.Reset()
			defer func() {
				if p := recover(); p != nil {
					out = w.trace.String() + fmt.Sprintf("BROKEN %v\n", p)
					t.Errorf("%s: %v", d.Pos, p)
				}
			}()
			w.quiet = d.HasArg("quiet")
			w.command(t, d)
			return w.trace.String()
		})
	})
}

func arg(t *testing.T, d *datadriven.TestData, key, def string) string {
	d.MaybeScanArgs(t, key, &def)
	return strings.ReplaceAll(def, "_", " ")
}

func (w *world) command(t *testing.T, d *datadriven.TestData) {
	var at *node
	if len(d.CmdArgs) > 0 {
		at = w.node(id(d.CmdArgs[0].Key))
	}
	word := func(i int) string {
		if i < len(d.CmdArgs) {
			return d.CmdArgs[i].Key
		}
		return ""
	}
	match := arg(t, d, "match", "")
	switch d.Cmd {
	case "move":
		w.scriptMove(t, d)
	case "deputy":
		source := id(arg(t, d, "of", "S"))
		dep := NewDeputy(source, id(arg(t, d, "chief", "P")), id(arg(t, d, "target", "T")), testOrigin)
		w.orchs = slices.DeleteFunc(w.orchs, func(o *orchestrator) bool { return o.id == source })
		w.orchestrate(&orchestrator{id: source, move: dep.move, deputy: &dep})
	case "tell":
		for _, o := range w.orchs {
			if o.id == at.id && o.deputy != nil {
				w.drive(o, FromChief{wishOf(word(1), id(arg(t, d, "target", "T")))})
				return
			}
		}
		w.printf("%s drives no move\n", names(at.id))
	case "plain":
		w.printf("%s\n", flight{from: at.id, to: 8, msg: at.p.AnswerPlain(at.hostCopy())})
	case "run":
		w.scriptRun(arg(t, d, "until", ""), arg(t, d, "except", ""), d.HasArg("double"), d.HasArg("newest"))
	case "deliver":
		for _, f := range w.flights {
			if strings.Contains(f.String(), match) {
				if !d.HasArg("keep") {
					w.take(f.id)
				}
				w.deliver(f)
				return
			}
		}
		t.Fatalf("%s: nothing in flight matches %q", d.Pos, match)
	case "drop":
		w.flights = slices.DeleteFunc(w.flights, func(f flight) bool {
			hit := strings.Contains(f.String(), match)
			if hit {
				w.printf("lost: %s\n", f)
			}
			return hit
		})
	case "again":
		w.scriptAgain(t, d, match)
	case "inject":
		w.scriptInject(t, d)
	case "write":
		n := 1
		fmt.Sscan(word(1), &n)
		for range n {
			if !w.write(at) {
				w.printf("%s does not accept\n", names(at.id))
			}
		}
	case "crash":
		w.crash(at)
	case "fail":
		at.persist = 1
	case "fire":
		w.scriptFire(t, d, word(0), word(1))
	case "lost":
		w.step(at, PeerLost{Peer: id(word(1))})
	case "back":
		w.step(at, Reconnected{Peer: id(word(1))})
	case "cancel":
		o := w.orchs[0]
		for _, other := range w.orchs {
			if other.id == id(word(0)) {
				o = other
			}
		}
		w.drive(o, Cancel{})
	case "verdict":
		var code int
		fmt.Sscan(word(1), &code)
		r := proto0500.NewReason(proto0500.Code(code), "no")
		at.verdict = &r
	case "flights":
		for _, f := range w.flights {
			w.printf("%s\n", f)
		}
	case "show":
		w.scriptShow()
	default:
		t.Fatalf("%s: no such command", d.Pos)
	}
}

func (w *world) scriptMove(t *testing.T, d *datadriven.TestData) {
	cfg := MoveConfig{
		Self: id(arg(t, d, "by", "O")), Source: id(arg(t, d, "source", "S")), Target: id(arg(t, d, "target", "T")),
		Origin: testOrigin, DryRun: d.HasArg("dry"),
	}
	var tries int
	d.MaybeScanArgs(t, "lag", &cfg.LagMax)
	d.MaybeScanArgs(t, "tries", &tries)
	cfg.CutoverTries = uint8(tries)
	move := NewMove(cfg)
	var e uint64
	if d.MaybeScanArgs(t, "resume", &e); e > 0 {
		move = ResumeMove(cfg, MoveRecord{Origin: testOrigin, Source: cfg.Source, Target: cfg.Target, Epoch: frame.Epoch(e)})
	}
	w.orchs = slices.DeleteFunc(w.orchs, func(o *orchestrator) bool { return o.id == cfg.Self })
	w.orchestrate(&orchestrator{id: cfg.Self, move: move})
}

func (w *world) scriptRun(until, except string, double, newest bool) {
	for range 500 {
		due := slices.DeleteFunc(slices.Clone(w.flights), func(f flight) bool {
			return except != "" && strings.Contains(f.String(), except)
		})
		if len(due) == 0 {
			return
		}
		f := due[0]
		if newest {
			f = due[len(due)-1]
		}
		if until != "" && strings.Contains(f.String(), until) {
			return
		}
		w.take(f.id)
		w.deliver(f)
		if double && f.local == nil {
			w.deliver(f)
		}
	}
	panic("they never stop talking")
}

func (w *world) scriptAgain(t *testing.T, d *datadriven.TestData, match string) {
	var e uint64
	d.MaybeScanArgs(t, "epoch", &e)
	for _, f := range slices.Clone(w.history) {
		if f.local == nil && uint64(f.epoch) == e && strings.Contains(f.String(), match) && w.node(f.to) != nil {
			w.deliver(f)
		}
	}
}

func (w *world) scriptInject(t *testing.T, d *datadriven.TestData) {
	var e uint64
	var kind string
	d.ScanArgs(t, "epoch", &e)
	d.ScanArgs(t, "kind", &kind)
	target := id(arg(t, d, "target", "T"))
	at := last(w.accepted)
	messages := []proto0500.Message{
		proto0500.Begin{DaemonOrigin: testOrigin, TargetNode: target},
		proto0500.Prepare{DaemonOrigin: testOrigin, SourceNode: target},
		proto0500.TakeSnapshot{DaemonOrigin: testOrigin, TargetNode: target},
		proto0500.CutoverNotify{DaemonOrigin: testOrigin, TargetNode: target},
		proto0500.BufferedEvents{DaemonOrigin: testOrigin},
		proto0500.Release{DaemonOrigin: testOrigin},
		proto0500.Query{DaemonOrigin: testOrigin},
		proto0500.Force{DaemonOrigin: testOrigin, DeadNode: target},
		proto0500.ActivateTarget{DaemonOrigin: testOrigin},
		proto0500.ActivateAck{DaemonOrigin: testOrigin},
		proto0500.MigrationFailed{DaemonOrigin: testOrigin, Reason: proto0500.NewReason(proto0500.CodeStateFailed, "injected")},
		proto0500.Seal{DaemonOrigin: testOrigin, Seq: at.Seq, Head: at.Head, HeadHash: at.Hash},
		proto0500.Ack{DaemonOrigin: testOrigin, Seq: at.Seq, Head: at.Head, HeadHash: at.Hash},
		proto0500.Transfer{DaemonOrigin: testOrigin},
		proto0500.TransferStatus{DaemonOrigin: testOrigin},
		proto0500.CleanupComplete{DaemonOrigin: testOrigin},
	}
	for _, m := range messages {
		if m.Kind().String() == kind {
			w.deliver(flight{from: id(arg(t, d, "from", "O")), to: id(arg(t, d, "to", "S")), epoch: frame.Epoch(e), msg: m})
			return
		}
	}
	t.Fatalf("%s: no such kind", d.Pos)
}

func (w *world) scriptFire(t *testing.T, d *datadriven.TestData, who, timer string) {
	for k := TimerAttempt; k <= TimerPhase; k++ {
		if k.String() != timer {
			continue
		}
		if k < TimerStep {
			w.fire(w.node(id(who)), k)
			return
		}
		for _, o := range w.orchs {
			if e, ok := o.timers[k]; ok && o.id == id(who) {
				w.printf("%s timer %v\n", who, k)
				delete(o.timers, k)
				w.drive(o, Fired{Timer: k, Epoch: e})
				return
			}
		}
	}
	t.Fatalf("%s: no such timer runs", d.Pos)
}

func (w *world) scriptShow() {
	for _, n := range w.nodes {
		open := ""
		if n.open {
			open = " accepts"
		}
		w.printf("%s: %v@%d live=%d copy=%t events=%d%s\n", names(n.id), n.p.State(), n.p.Epoch(), n.p.Record().LiveEpoch, n.copy, len(n.log), open)
	}
	for _, o := range w.orchs {
		s := o.move.Superposition()
		w.printf("%s: phase %v, %v", names(o.id), o.move.Phase(), s.State)
		if p, ok := s.Proof(); ok {
			w.printf(", proof %d..%d", p.FromSeq, p.ToSeq)
		}
		w.printf("\n")
	}
}
