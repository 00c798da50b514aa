// Package drive carries out what the pure core decides: effects in their order,
// records into the journal, messages to nodes that may first have to be dialled,
// and timers. The shells of all three roles share it.
package drive
