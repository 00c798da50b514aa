// Package explore searches every state of a small world around migration's step functions, breadth first: a few nodes,
// attempts, writes, crashes, lost and doubled frames, timeouts. Frames in flight have no order.
//
// What a node, an orchestrator or a frame can be are few; they are numbered, and a step of one is computed once. A state
// of the world is a handful of those numbers, and is remembered as a hash of 64 bits: two states may collide, with a
// chance of about n²/2^65.
//
//	Bounds       bounds.go    what is searched
//	node, cell   cell.go      one participant with its host and journal, and what an input makes of it
//	orchestrator move.go      one migration.Move
//	world        world.go     the state of all, and what can happen next
//	Search       search.go    breadth first; I1 to I6, results and L1; the shortest trace of what is violated
//
// What is in flight is a set: a frame that is sent again while it is in flight is the same frame. A frame to an
// orchestrator that is gone, and one that its receiver takes no notice of (Rejected), is left out. Events that come
// before their turn stay in flight, as they would with the host that holds them.
package explore
