// Package weaken names the rules of the handover (safety.md, section 8) that a canary turns off, one at a time, to see
// that the simulator or the explorer would notice. Only the tests' worlds make a Set; the zero Set, which is all that
// any other code can have, weakens nothing.
package weaken

import "slices"

// Rule is one rule turned off, or one half of it.
type Rule uint8

// The rules, in the order of safety.md. The hook is where the rule is kept: in migration's step functions, or in the
// host that carries out their effects (host).
const (
	SourceEpochNotDurable Rule = 1  // R1, host: begin's record is not on disk before the epoch is named
	EpochReused           Rule = 2  // R1: begin hands out the epoch it handed out last
	TargetEpochNotDurable Rule = 3  // R2, host: prepare's record is not on disk before the answer
	RefusalNotRecorded    Rule = 4  // R2: a final no to prepare does not burn the epoch
	RecordForgotten       Rule = 5  // R2, host: the record is deleted when the daemon has moved away
	RetiredNotDurable     Rule = 6  // R3, host: retired is not on disk before CleanupComplete
	RetiredBeforeAck      Rule = 7  // R3: retired is written with the seal
	AnySealCounts         Rule = 8  // R3: an ack of an earlier seal retires, too
	ActivateBeforeRetired Rule = 9  // R4: the source sends ActivateTarget with the seal
	AbortAfterRetire      Rule = 10 // R5: a retired source obeys an orchestrator's wish
	RefusalKeepsAttempt   Rule = 12 // R6: the target says refused and stays sealed
	DropAfterAck          Rule = 13 // R7: a sealed target drops by its timer, and on an orchestrator's wish
	SourceDoesNotAsk      Rule = 14 // R8: a retired source waits for an orchestrator
	TargetDoesNotAsk      Rule = 15 // R8: a sealed target waits for an orchestrator
	EarlyRelease          Rule = 16 // R9: the source drops its copy when it retires
	OnlyPresentEpoch      Rule = 17 // R9: the target's word counts only while it is live at exactly e
	LiveNotDurable        Rule = 18 // R10, host: live is not on disk before the target accepts
	StateNotFlushed       Rule = 19 // R10, host: Flush does nothing
	HintIsAuthority       Rule = 20 // R11, host: who was told Moved may write at the target before it is live
	LaterEpochSaysYes     Rule = 21 // I4: a target live at 2 says ActivateAck to an ActivateTarget of 1
	FreezeTooLate         Rule = 22 // host 1: the final sequence is read while writes are still accepted
	NoGateAtBoot          Rule = 23 // host 2: a daemon is started without asking the record
)

var names = [...]string{
	"", "SourceEpochNotDurable", "EpochReused", "TargetEpochNotDurable", "RefusalNotRecorded", "RecordForgotten",
	"RetiredNotDurable", "RetiredBeforeAck", "AnySealCounts", "ActivateBeforeRetired", "AbortAfterRetire",
	"", "RefusalKeepsAttempt", "DropAfterAck", "SourceDoesNotAsk", "TargetDoesNotAsk", "EarlyRelease",
	"OnlyPresentEpoch", "LiveNotDurable", "StateNotFlushed", "HintIsAuthority", "LaterEpochSaysYes", "FreezeTooLate",
	"NoGateAtBoot",
}

func (r Rule) String() string {
	if int(r) < len(names) {
		return names[r]
	}
	return "rule?"
}

// Parse finds a rule by its name.
func Parse(name string) (Rule, bool) {
	i := slices.Index(names[:], name)
	return Rule(max(i, 0)), i > 0
}

// Set is what is turned off. It is a value; the zero value is nothing.
type Set struct{ bits uint32 }

// Of is a set of rules.
func Of(rules ...Rule) (s Set) {
	for _, r := range rules {
		s.bits |= 1 << r
	}
	return s
}

// Has tells whether r is turned off.
func (s Set) Has(r Rule) bool { return s.bits&(1<<r) != 0 }

// Any tells whether anything is.
func (s Set) Any() bool { return s.bits != 0 }
