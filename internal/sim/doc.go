// Package sim is a world in one goroutine around the production step functions of migration, the journal's memory
// implementation and snapshot's chunker and placer. Virtual time, seeded chance, and nothing else: a seed gives the same
// run, step by step.
//
//	world.go       time, the queue, one episode: some nodes, some daemons, some moves, and the calm after them
//	network.go     links that drop, delay, double, reorder, partition, and bring back stale frames
//	node.go        nodes: crash, restart, what is durable
//	host.go        one daemon at one node: carries out migration's effects, as daemon.steward does for real
//	outbound.go    the source's data plane     inbound.go  the target's
//	orchestrator.go, client.go                 who wants moves, who writes
//	invariant.go   I1 to I6 after every step, and what must be true at the end (L1)
//	episodes.go    many episodes, counted, until there were enough moves; shrinking of a failing one
//	model.go       every step held against the actions of tla/Handover.tla
//	explore/       the same step functions again, exhaustively, for small bounds
//
//	go run ./internal/sim/cmd/sim -moves 1000000 [-seed N] [-workers 2]    the figures, and the table of faults
//	go run ./internal/sim/cmd/sim -episode SEED                            one episode, with its trace
//	go run ./internal/sim/cmd/explore                                      the documented bounds
//
// The invariants' numbers are those of safety.md, section 9.
package sim
