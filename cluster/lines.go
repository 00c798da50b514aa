package cluster

import (
	"github.com/pelletier/go-toml/v2/unstable"
)

// linesOf reads text, which the decoder has accepted, once more for the line of each node's fields, which the decoder
// does not keep. The function that it returns gives the line of a field, else that of the node's table, else 0: nodes
// that are written as an inline array have no lines of their own.
func linesOf(text []byte) func(node int, field string) int {
	type place struct {
		table  int
		fields map[string]int
	}
	var places []place
	var p unstable.Parser
	p.Reset(text)
	lineOf := func(n *unstable.Node) int {
		return p.Shape(p.Range(n.Data)).Start.Line
	}
	inNodes := false
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.ArrayTable, unstable.Table:
			key := e.Key()
			key.Next()
			inNodes = e.Kind == unstable.ArrayTable && string(key.Node().Data) == "nodes" && key.IsLast()
			if inNodes {
				places = append(places, place{table: lineOf(key.Node()), fields: map[string]int{}})
			}
		case unstable.KeyValue:
			key := e.Key()
			key.Next()
			if inNodes && key.IsLast() {
				places[len(places)-1].fields[string(key.Node().Data)] = lineOf(key.Node())
			}
		}
	}
	return func(node int, field string) int {
		if node >= len(places) {
			return 0
		}
		if line, ok := places[node].fields[field]; ok {
			return line
		}
		return places[node].table
	}
}
