package sim

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Fault is a kind of injected trouble.
type Fault uint8

// The faults. A frame's fault is counted at the role and state of whom it is for, a crash's at those of whom it hits.
const (
	Lose         Fault = 0  // a frame never arrives
	Double       Fault = 1  // a frame arrives twice
	Delay        Fault = 2  // a frame is late by far, and so comes after later ones
	Reorder      Fault = 3  // a frame overtakes those before it
	Stale        Fault = 4  // a frame of any time before comes again
	Cut          Fault = 5  // a frame meets a partition
	Crash        Fault = 6  // the node crashes, between two inputs
	CrashMidway  Fault = 7  // … between two effects of one input
	CrashUnsync  Fault = 8  // … between a write and its sync; it may have reached the disk or not
	CrashPersist Fault = 9  // … between a durable write and what is sent because of it
	WriteFails   Fault = 10 // a write fails, and is on disk or not
	EarlyTimer   Fault = 11 // a timer runs out at once
	LostPeer     Fault = 12 // the transport says that a peer is lost
	HostFails    Fault = 13 // snapshot, restore or stream fails at the host
	Cancelled    Fault = 14 // the user cancels
	Duel         Fault = 15 // another orchestrator wants another move, or takes this one over
	faults             = 16
)

var faultNames = [faults]string{
	"lose", "double", "delay", "reorder", "stale", "cut", "crash", "midway", "unsynced", "persisted", "write fails",
	"early timer", "lost peer", "host fails", "cancel", "duel",
}

func (f Fault) String() string { return faultNames[f] }

// place is a role and its state.
type place uint8

var placeNames = []string{
	"source serving", "source begun", "source copying", "source frozen", "source retired", "source moved",
	"target none", "target prepared", "target restored", "target sealed", "target live",
	"orchestrator begin", "orchestrator prepare", "orchestrator copy", "orchestrator replay", "orchestrator lag",
	"orchestrator cutover", "orchestrator activate", "orchestrator release", "orchestrator cancel",
	"orchestrator reinstate", "orchestrator askSource", "orchestrator askTarget",
}

const (
	placeServing      place = 0
	placeNone         place = 6
	placeLive         place = 10
	placeOrchestrator place = 11
	places                  = 23
)

// Hits counts each fault at each place.
type Hits [places][faults]uint64

// cannot says why a fault has no place there, "" where it has one.
func cannot(p place, f Fault) string {
	name := placeNames[p]
	participant := p < placeOrchestrator
	switch f {
	case CrashUnsync, CrashPersist, WriteFails:
		// Only what is written there can fail there.
		switch name {
		case "source copying":
			return "nothing is written"
		case "source begun":
			if f != CrashPersist {
				return "nothing is written"
			}
		case "source frozen", "target restored", "target sealed":
			if f == CrashPersist {
				return "what is written there ends it"
			}
		}
		if !participant {
			return "its journal is no matter of safety: it crashes with it"
		}
	case CrashMidway:
		if !participant {
			return "its effects are sends, which the network loses"
		}
	case EarlyTimer:
		switch name {
		case "source serving", "source moved", "target none", "target live":
			return "no timer runs"
		}
	case HostFails:
		switch name {
		case "source begun", "source copying", "source frozen", "target prepared", "target restored", "target sealed":
		default:
			return "no attempt at a host"
		}
	case Cancelled, Duel:
		if participant {
			return "an orchestrator's"
		}
	}
	return ""
}

// Missing lists the triples of role, state and fault that can be and were not hit.
func (h *Hits) Missing() (list []string) {
	for p := range place(places) {
		for f := range Fault(faults) {
			if h[p][f] == 0 && cannot(p, f) == "" {
				list = append(list, fmt.Sprintf("%s: %v", placeNames[p], f))
			}
		}
	}
	return list
}

// Print writes the table; a dash is a triple that cannot be.
func (h *Hits) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "role, state\t")
	for _, name := range faultNames {
		fmt.Fprintf(t, "%s\t", name)
	}
	fmt.Fprintln(t)
	for p := range place(places) {
		fmt.Fprintf(t, "%s\t", placeNames[p])
		for f := range Fault(faults) {
			if h[p][f] == 0 && cannot(p, f) != "" {
				fmt.Fprint(t, "-\t")
				continue
			}
			fmt.Fprintf(t, "%d\t", h[p][f])
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}
