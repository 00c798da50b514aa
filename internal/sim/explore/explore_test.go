package explore

import (
	"os"
	"testing"
)

func TestTmp(t *testing.T) {
	for _, b := range []Bounds{
		{Nodes: 2, Moves: 1, Writes: 1},
		{Nodes: 2, Moves: 1, Writes: 1, Asks: 1},
		{Nodes: 2, Moves: 1, Writes: 1, Crashes: 1, Asks: 1},
		{Nodes: 2, Moves: 1, Writes: 1, Crashes: 1, Losses: 1, Asks: 1, Timeouts: 1},
		{Nodes: 3, Moves: 2, Writes: 0},
		{Nodes: 3, Moves: 2, Writes: 1},
	} {
		b.StatesMax = 400000
		Search(b).Print(os.Stdout)
	}
}
