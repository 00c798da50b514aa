package daemon

import (
	"testing"
	"time"

	"ferry/identity"
)

// TestBudgets: a node is given so many reports a second and no more, whatever the others ask for; what is ordinary never
// gets near it.
func TestBudgets(t *testing.T) {
	var b budgets
	now := time.Unix(1, 0)
	given := 0
	for b.spend(1, 7, now) {
		given += 7
	}
	if given > reportsBurst || given < reportsBurst-7 {
		t.Errorf("%d reports at once, want %d", given, reportsBurst)
	}
	if !b.spend(2, reportsBurst+1, now) {
		t.Error("one question about more daemons than the budget is not answered")
	}
	if b.spend(2, 1, now) {
		t.Error("it cost less than the budget")
	}
	for range 10 {
		given = 0
		for now = now.Add(time.Second); b.spend(1, 7, now); {
			given += 7
		}
		if given > reportsPerSecond+7 || given < reportsPerSecond-7 {
			t.Errorf("%d reports in a second, want %d", given, reportsPerSecond)
		}
	}
	// A hundred moves, each of which asks twice in a tenth of a second, and a status of a thousand daemons every second.
	for tenth := range 600 {
		now = now.Add(time.Second / 10)
		for range 200 {
			if !b.spend(3, 1, now) {
				t.Fatal("a move is refused")
			}
		}
		if tenth%10 == 0 && !b.spend(3, 1000, now) {
			t.Fatal("a status is refused")
		}
	}
}

// TestBudgetsAreForgotten: what is remembered is bounded, but for those who are spending.
func TestBudgetsAreForgotten(t *testing.T) {
	var b budgets
	now := time.Unix(1, 0)
	b.spend(0, reportsBurst, now)
	for n := range 10 * askersMax {
		now = now.Add(time.Microsecond)
		b.spend(identity.NodeID(n+1), 1, now)
		if len(b.of) > askersMax {
			t.Fatalf("%d budgets are remembered", len(b.of))
		}
	}
	if b.spend(0, reportsPerSecond, now) {
		t.Error("who asks without end was forgotten")
	}
}
