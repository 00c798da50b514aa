//go:build unix

package main

import (
	"math/rand/v2"
	"strings"
	"time"
)

// step is a part of a move between two of its durable writes, or two of its
// phases where nothing is written.
type step int

const (
	stepPrepare step = iota
	stepSnapshot
	stepTransfer
	stepRestore
	stepReplay
	stepAcked
	stepRetired
	stepLive
	stepActivated
	stepReleased
	stepCount
)

func (s step) String() string {
	return [...]string{
		"begin, prepare", "snapshot", "transfer", "restore", "replay, cutover", "ack → retired", "retired → live",
		"live → ActivateAck", "ActivateAck → release", "release → moved",
	}[s]
}

// role is what a process is in one move.
type role int

const (
	source role = iota
	target
	orchestrator
	roleCount
)

func (r role) String() string { return [...]string{"source", "target", "orchestrator"}[r] }

// point is where a process can be told to wait.
type point struct {
	at    role
	name  string
	after time.Duration // the fault comes up to so much later, and nobody waits; 0: it comes while the process waits
}

// points are those of each step.
var points = [stepCount][]point{
	stepPrepare: {
		{source, "begin:before", 0}, {source, "begin:after", 0}, {orchestrator, "intent:before", 0},
		{orchestrator, "intent:after", 0}, {target, "prepare:before", 0}, {target, "prepare:after", 0},
	},
	stepSnapshot:  {{orchestrator, "phase:snapshot", 0}, {source, "snapshot:taken", 0}},
	stepTransfer:  {{orchestrator, "phase:transfer", 10 * time.Millisecond}, {orchestrator, "phase:transfer", 0}, {source, "snapshot:taken", 20 * time.Millisecond}},
	stepRestore:   {{target, "restore:open", 0}, {target, "restore:open", 5 * time.Millisecond}},
	stepReplay:    {{orchestrator, "phase:replay", 0}, {orchestrator, "phase:cutover", 0}, {orchestrator, "phase:cutover", 3 * time.Millisecond}},
	stepAcked:     {{source, "retired:before", 0}},
	stepRetired:   {{source, "retired:after", 0}, {target, "live:before", 0}},
	stepLive:      {{target, "live:after", 0}},
	stepActivated: {{orchestrator, "outcome:before", 0}, {orchestrator, "outcome:after", 0}},
	stepReleased:  {{source, "moved:before", 0}, {source, "moved:after", 0}},
}

// stepOf is the step that a process is in from a point on.
func stepOf(point string) step {
	name, _, _ := strings.Cut(point, ":")
	switch point {
	case "phase:replay", "phase:cutover":
		return stepReplay
	case "phase:transfer":
		return stepTransfer
	case "retired:before":
		return stepAcked
	case "retired:after", "phase:complete":
		return stepRetired
	case "live:after":
		return stepLive
	case "phase:snapshot":
		return stepSnapshot
	}
	switch name {
	case "snapshot":
		return stepSnapshot
	case "restore":
		return stepRestore
	case "live":
		return stepRetired
	case "outcome":
		return stepActivated
	case "moved":
		return stepReleased
	}
	return stepPrepare
}

// table counts by step and role.
type table [stepCount][roleCount]int

// aim picks a step and a role that were hit least. What was aimed at and not hit
// weighs a little, so that no cell that is hard to hit takes all the moves.
func aim(hit, tried *table, rnd *rand.Rand) (s step, r role) {
	least, ties := -1, 0
	for i := range stepCount {
		for j := range roleCount {
			switch weight := 8*hit[i][j] + tried[i][j]; {
			case least < 0 || weight < least:
				least, ties, s, r = weight, 1, i, j
			case weight == least:
				if ties++; rnd.IntN(ties) == 0 {
					s, r = i, j
				}
			}
		}
	}
	tried[s][r]++
	return s, r
}
