// Package cluster reads and writes cluster.toml: which nodes there are, where they listen, and with which keys they
// prove who they are. It is the Resolver of those who have no mesh.
//
//	DIR/cluster.toml      every node has the same copy
//	DIR/keys/NAME.pem     the private key of a node, mode 0600; only that node needs it
//	DIR/data/NAME/        what that node stores
//
// One table a node:
//
//	[[nodes]]
//	name = 'a'                      lower-case letters, digits, - and _; at most 63 bytes
//	addr = '127.0.0.1:7501'         UDP: where the others reach it
//	http = '127.0.0.1:7502'         TCP: the HTTP API of its daemons; may be left out
//	public_key = '3b6a27bc…'        64 hexadecimal digits
//	orchestrator = false            it may not move daemons; true when left out
//	asks = true                     it may ask which daemons the others have, to send clients on to them, although
//	                                it may not move them
//
// Names, keys and addresses are each used once. A field that is not in this list is refused, as it is most likely a
// misspelt one.
package cluster
