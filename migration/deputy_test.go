package migration

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"ferry/proto0500"
)

// wishOf is what a chief may say of the daemon, by its kind.
func wishOf(kind string, target proto0500.NodeID) proto0500.Message {
	for _, m := range []proto0500.Message{
		proto0500.TakeSnapshot{DaemonOrigin: testOrigin, TargetNode: target},
		proto0500.CutoverNotify{DaemonOrigin: testOrigin, TargetNode: target},
		proto0500.MigrationFailed{DaemonOrigin: testOrigin, Reason: proto0500.NewReason(proto0500.CodeStateFailed, "not wanted")},
	} {
		if m.Kind().String() == kind {
			return m
		}
	}
	panic("no wish of that kind: " + kind)
}

// randomDeputy is a move that its source drives for a chief, which nobody can hear: what it is told is never needed.
func randomDeputy(r *rand.Rand, w *world) *orchestrator {
	i := slices.IndexFunc(w.nodes, func(n *node) bool { return n.open })
	if i < 0 || slices.ContainsFunc(w.orchs, func(o *orchestrator) bool { return o.id == w.nodes[i].id }) {
		return nil
	}
	dep := NewDeputy(w.nodes[i].id, 7, w.nodes[(i+1+r.IntN(2))%3].id, testOrigin)
	return &orchestrator{id: w.nodes[i].id, move: dep.move, deputy: &dep}
}

// tellRandom says anything a chief can say to any deputy: without an epoch, stale and new are the same.
func (w *world) tellRandom(r *rand.Rand) {
	for _, o := range w.orchs {
		if o.deputy == nil || o.result != nil {
			continue
		}
		kind := []string{"CutoverNotify", "CutoverNotify", "TakeSnapshot", "MigrationFailed"}[r.IntN(4)]
		w.drive(o, FromChief{wishOf(kind, proto0500.NodeID(1+r.IntN(3)))})
		return
	}
}

// TestDeputyWalk: moves that sources drive for chiefs, and nothing else, over the weakest network: they do come to their
// end, each way.
func TestDeputyWalk(t *testing.T) {
	ends := map[string]int{}
	for seed := range uint64(300) {
		w := newWorld(true, 2)
		w.quiet = true
		r := rand.New(rand.NewPCG(seed, 2))
		crashes := 2
		for range 600 {
			switch k := r.IntN(100); {
			case k < 2 && len(w.orchs) < 2:
				if o := randomDeputy(r, w); o != nil {
					w.orchestrate(o)
				}
			case k < 5:
				w.tellRandom(r)
			case k < 8:
				w.write(w.nodes[r.IntN(3)])
			case k < 9 && crashes > 0 && r.IntN(3) == 0:
				crashes--
				w.crash(w.nodes[r.IntN(3)])
			case k < 12:
				w.fireRandom(r)
			default:
				w.deliverRandom(r)
			}
			for _, o := range w.orchs {
				if o.result != nil {
					ends[o.result.Outcome.String()]++
					w.truth(o)
				}
			}
			w.orchs = slices.DeleteFunc(w.orchs, func(o *orchestrator) bool { return o.result != nil })
		}
		w.settle(t, seed)
	}
	t.Log(ends)
	for _, want := range []Outcome{OutcomeCommitted, OutcomeRolledBack} {
		if ends[want.String()] < 20 {
			t.Errorf("only %d moves ended %v", ends[want.String()], want)
		}
	}
}

// TestDeputyRefuses: what is of another daemon or target, or what no chief says, changes nothing.
func TestDeputyRefuses(t *testing.T) {
	d := NewDeputy(1, 8, 2, testOrigin)
	if _, err := d.Step(Start{}, nil); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		m    proto0500.Message
		want proto0500.RejectReason
	}{
		{nil, proto0500.RejectUnknownDaemon},
		{proto0500.CutoverNotify{DaemonOrigin: testOrigin + 1, TargetNode: 2}, proto0500.RejectUnknownDaemon},
		{wishOf("CutoverNotify", 3), proto0500.RejectMalformed},
		{wishOf("TakeSnapshot", 3), proto0500.RejectMalformed},
		{proto0500.CleanupComplete{DaemonOrigin: testOrigin}, proto0500.RejectUnsupported},
		{proto0500.Release{DaemonOrigin: testOrigin}, proto0500.RejectUnsupported},
		{proto0500.ActivateAck{DaemonOrigin: testOrigin}, proto0500.RejectUnsupported},
	} {
		before := d
		fx, err := d.Step(FromChief{tc.m}, nil)
		refused, ok := errors.AsType[*Refused](err)
		if !ok || refused.Reason != tc.want || len(fx) > 0 || d != before {
			t.Errorf("%v: %v, %v", tc.m, err, fx)
		}
	}
	if _, err := d.Step(Start{}, nil); err == nil {
		t.Error("a deputy starts twice")
	}
	before := d
	if fx, err := d.Step(FromChief{wishOf("TakeSnapshot", 2)}, nil); err != nil || len(fx) > 0 || d != before {
		t.Errorf("a doubled TakeSnapshot: %v, %v", fx, err)
	}
}

// TestDeputySaysAgain: who comes back hears the last of what there was to hear, and nothing before there was any.
func TestDeputySaysAgain(t *testing.T) {
	w := newWorld(true, 2)
	dep := NewDeputy(1, 8, 2, testOrigin)
	o := &orchestrator{id: 1, move: dep.move, deputy: &dep}
	back := func() string {
		t.Helper()
		before := dep
		fx, err := dep.Step(Reconnected{Peer: dep.Chief()}, nil)
		if err != nil || dep != before || len(fx) > 1 {
			t.Fatalf("%v, %v", fx, err)
		}
		if len(fx) == 0 {
			return ""
		}
		s := fx[0].(Send)
		if s.To != 8 || s.Epoch != 0 {
			t.Fatalf("%+v", s)
		}
		return s.Message.Kind().String()
	}
	heard := []string{back()}
	note := func() {
		if k := back(); k != heard[len(heard)-1] {
			heard = append(heard, k)
		}
	}
	w.orchestrate(o)
	for i := 0; o.result == nil; i++ {
		note()
		if len(w.flights) == 0 {
			w.drive(o, FromChief{wishOf("CutoverNotify", 2)})
			continue
		}
		f := w.flights[0]
		w.take(f.id)
		w.deliver(f)
	}
	note()
	if want := []string{"", "RestoreComplete", "ReplayComplete", "CleanupComplete"}; !slices.Equal(heard, want) {
		t.Errorf("%q", heard)
	}
	if _, err := dep.Step(Cutover{}, nil); err == nil {
		t.Error("a move that is over goes on to its cutover")
	}
	if fx, err := dep.Step(Reconnected{Peer: 2}, nil); err == nil || len(fx) > 0 {
		t.Errorf("%v, %v", fx, err)
	}
}

// TestAnswerPlain: yes only from who is the authority by a move and has the state, and no promise from anybody.
func TestAnswerPlain(t *testing.T) {
	here := Copy{OK: true, Seq: 7}
	for name, tc := range map[string]struct {
		rec  Record
		copy Copy
		yes  bool
	}{
		"live by a move":          {Record{Epoch: 3, LiveEpoch: 3, State: RecordServing}, here, true},
		"live, its state is lost": {Record{Epoch: 3, LiveEpoch: 3, State: RecordServing}, Copy{}, false},
		"created here":            {Created(), here, false},
		"source of a later move":  {Record{Epoch: 4, LiveEpoch: 3, State: RecordServing, Peer: 2}, here, false},
		"in an attempt, or not":   {Record{Epoch: 3, State: RecordNone, Peer: 2}, here, false},
		"never heard of it":       {Record{}, Copy{}, false},
		"retired":                 {retiredRecord(), here, false},
		"moved":                   {Record{Epoch: 3, State: RecordMoved, Peer: 2}, Copy{}, false},
	} {
		p := New(Config{Self: 1, Origin: testOrigin}, tc.rec)
		before := p
		switch m := p.AnswerPlain(tc.copy).(type) {
		case proto0500.ActivateAck:
			if !tc.yes || m.ReplayedSeq != 7 || m.DaemonOrigin != testOrigin {
				t.Errorf("%s: %+v", name, m)
			}
		case proto0500.MigrationFailed:
			if tc.yes || !m.Reason.Retriable() {
				t.Errorf("%s: %+v", name, m)
			}
		default:
			t.Errorf("%s: %T", name, m)
		}
		if p != before {
			t.Errorf("%s: the answer changed the node", name)
		}
	}
}
