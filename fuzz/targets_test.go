package fuzz

import (
	"strings"
	"testing"

	"ferry/fuzz/internal/harness"
	"ferry/proto0500"
)

// targets is every target of this package.
var targets = []harness.Target{
	{Name: "FuzzFrame", Fuzz: fuzzFrame, Runs: 4000},
	{Name: "FuzzFrameStream", Fuzz: fuzzFrameStream, Runs: 4000},
	{Name: "FuzzMessage", Fuzz: fuzzMessage, Runs: 20000, Accepted: everyKind},
	{Name: "FuzzMessageRepaired", Fuzz: fuzzMessageRepaired, Runs: 10000, Accepted: everyKind},
	{Name: "FuzzLink", Fuzz: fuzzLink, Runs: 4000},
	{Name: "FuzzProof", Fuzz: fuzzProof, Runs: 4000},
}

func TestReplay(t *testing.T)           { harness.Replay(t, targets) }
func TestCanaries(t *testing.T)         { harness.Canaries(t, targets) }
func TestTargetsAreListed(t *testing.T) { harness.Listed(t, targets) }

// everyKind: no kind of message is refused every time.
func everyKind(t *testing.T, accepted map[string]int) {
	for k := range proto0500.Kind(255) {
		// Kinds that there are have a name.
		if s := k.String(); !strings.ContainsAny(s, "(0123456789 ") && accepted[s] == 0 {
			t.Errorf("no %v is accepted", k)
		}
	}
}
