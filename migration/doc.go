// Package migration is the handover of one daemon between nodes as deterministic functions: an input goes in, effects
// come out. There is no clock, randomness, I/O, goroutine or logger inside; the same inputs give the same effects.
//
//	Participant   source.go, target.go   one daemon at one node: its durable record and at most one attempt
//	Move          orchestrator.go        one move as whoever asked for it drives it
//
// All state is in plain values: an assignment clones it, == compares it. The daemon's bytes never come here: the machines
// see sequence numbers, links and hashes.
//
// The rules are those of safety.md; R1 to R12 and I1 to I6 in comments are its numbers. In short: per daemon and epoch the
// source says once over(e) or retired(e), the target once refused(e) or live(e). live needs retired first; a retired source
// serves again only on its target's own refused(e).
package migration
