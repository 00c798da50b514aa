package main

import (
	"cmp"
	"fmt"
	"slices"

	"ferry/cluster"
	"ferry/frame"
	"ferry/migration"
	"ferry/proto0500"
)

// survey is what the nodes say of one daemon, taken together.
type survey struct {
	file   *cluster.File
	name   string
	origin proto0500.Origin
	// reports has what each node that knows the daemon says of it.
	reports map[proto0500.NodeID]proto0500.Report
	silent  map[proto0500.NodeID]error // nodes that gave no answer; nil: it did
}

// surveys sorts what the nodes say by daemon, in the order of the names.
func surveys(file *cluster.File, all []answer) (list []*survey) {
	by := make(map[proto0500.Origin]*survey)
	silent := make(map[proto0500.NodeID]error)
	for _, a := range all {
		silent[proto0500.NodeID(a.node.ID())] = a.err
		for _, r := range a.reports {
			s := by[r.DaemonOrigin]
			if s == nil {
				s = &survey{file: file, origin: r.DaemonOrigin, reports: make(map[proto0500.NodeID]proto0500.Report), silent: silent}
				by[r.DaemonOrigin] = s
				list = append(list, s)
			}
			if s.name == "" {
				s.name = r.Name.String()
			}
			s.reports[proto0500.NodeID(a.node.ID())] = r
		}
	}
	slices.SortFunc(list, func(a, b *survey) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.origin, b.origin))
	})
	return list
}

func (s *survey) node(id proto0500.NodeID) string { return nodeName(s.file, id) }

// owners are the nodes that accept the daemon's writes.
func (s *survey) owners() (ids []proto0500.NodeID) {
	for _, n := range s.file.Nodes {
		if r, ok := s.reports[proto0500.NodeID(n.ID())]; ok && authority(r) {
			ids = append(ids, proto0500.NodeID(n.ID()))
		}
	}
	return ids
}

// openAttempt is an attempt that a node says it is in.
type openAttempt struct {
	*survey
	source, target proto0500.NodeID
	epoch          frame.Epoch
}

func (a openAttempt) record() migration.MoveRecord {
	return migration.MoveRecord{Origin: a.origin, Source: a.source, Target: a.target, Epoch: a.epoch}
}

// attempts are those of the daemon that have not ended, oldest first.
func (s *survey) attempts() (open []openAttempt) {
	for id, r := range s.reports {
		a := openAttempt{survey: s, epoch: r.Epoch}
		switch r.State {
		case proto0500.StateBegun, proto0500.StateCopying, proto0500.StateFrozen, proto0500.StateRetired:
			a.source, a.target = id, r.Peer
		case proto0500.StatePrepared, proto0500.StateRestored, proto0500.StateSealed:
			a.source, a.target = r.Peer, id
		default:
			continue
		}
		if !slices.Contains(open, a) {
			open = append(open, a)
		}
	}
	slices.SortFunc(open, func(a, b openAttempt) int {
		return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.target, b.target))
	})
	return open
}

// at is what a node says; ok: it does, and in the state.
func (a openAttempt) at(id proto0500.NodeID, state proto0500.State) (r proto0500.Report, ok bool) {
	r, ok = a.reports[id]
	return r, ok && r.Epoch == a.epoch && r.State == state
}

// doubt says in words what an attempt waits for that may never come; "": it ends
// by itself, or is under way.
func (a openAttempt) doubt() string {
	s, t := a.node(a.source), a.node(a.target)
	if r, ok := a.at(a.source, proto0500.StateRetired); ok {
		if why := a.lost(a.target); why != "" {
			return fmt.Sprintf("%s is the source, has retired at event %d in epoch %d, and waits for its target %s, %s", s, r.Seq, a.epoch, t, why)
		}
		return ""
	}
	if r, ok := a.at(a.target, proto0500.StateSealed); ok {
		if why := a.lost(a.source); why != "" {
			return fmt.Sprintf("%s is the target, has everything through event %d in epoch %d, and waits for its source %s, %s", t, r.Seq, a.epoch, s, why)
		}
	}
	return ""
}

// lost says why a side cannot end the attempt as it is now; "": it can.
func (a openAttempt) lost(id proto0500.NodeID) string {
	why, asked := a.silent[id]
	r, known := a.reports[id]
	switch {
	case !asked:
		return "which was not asked"
	case why != nil:
		return "which does not answer"
	case !known || r.Epoch < a.epoch:
		return "which answers and knows nothing of it: its journal is lost"
	case r.State == proto0500.StateServing && !r.Copy && (r.LiveEpoch == a.epoch || id == a.source && r.Epoch == a.epoch):
		return "which has lost the daemon's state"
	}
	return ""
}
