package migratetest

import (
	"fmt"
	"strings"
)

// fault is what is wrong with a daemon.
type fault struct {
	kind  string // for shrinking: what stays the same
	wrong string // one sentence
	steps []string
	look  string // where to look
	trial trial
	moved bool // found in the simulator
}

// at says which fields differ.
func (d diff) at() string {
	if names := d.names(); names != "" {
		return ". Look at " + names
	}
	return ""
}

// story is the fault in words.
func (f *fault) story(seed uint64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "migratetest: %s.\n", f.wrong)
	for i, s := range f.steps {
		fmt.Fprintf(&b, "  %d. %s\n", i+1, s)
	}
	if !f.moved {
		for _, line := range quoted(f.trial.all()) {
			fmt.Fprintf(&b, "     %s\n", line)
		}
	}
	fmt.Fprintf(&b, "Where to look: %s.\nThe same again: migratetest.Options{Seed: %d}", f.look, seed)
	return b.String()
}

// quoted lists payloads.
func quoted(events [][]byte) (lines []string) {
	const most = 12
	for i, p := range events {
		if i == most {
			return append(lines, fmt.Sprintf("and %d more", len(events)-most))
		}
		if len(p) > 48 {
			lines = append(lines, fmt.Sprintf("event %d: %q and %d more bytes", i+1, p[:48], len(p)-48))
			continue
		}
		lines = append(lines, fmt.Sprintf("event %d: %q", i+1, p))
	}
	return lines
}
