package node

import (
	"testing"

	"ferry/fuzz/internal/harness"
)

// targets is every target of this package.
var targets = []harness.Target{
	{Name: "FuzzRecord", Fuzz: fuzzRecord, Runs: 4000},
	{Name: "FuzzJournalFile", Fuzz: fuzzJournalFile, Runs: 200},
	{Name: "FuzzClusterFile", Fuzz: fuzzClusterFile, Runs: 1000},
	{Name: "FuzzControl", Fuzz: fuzzControl, Runs: 600},
}

func TestReplay(t *testing.T)           { harness.Replay(t, targets) }
func TestCanaries(t *testing.T)         { harness.Canaries(t, targets) }
func TestTargetsAreListed(t *testing.T) { harness.Listed(t, targets) }
