// Package identity says who is who: ed25519 keys of nodes and daemons, the
// names made from them, mutual TLS pinned to them, and the sealed envelope in
// which a daemon's own key travels to its new node.
//
// All integers that are made from bytes are little endian.
package identity

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/blake2s"
)

// Frozen: the BLAKE2s keys of the two names (protocol.md section 1).
const (
	originLabel = "net-origin-v1"
	nodeIDLabel = "net-node-id-v1"
)

// NodeID names a node: 8 bytes of a keyed hash of its public key. It is a name,
// not a proof; who holds the key is proven by TLS or by VerifyChannel.
type NodeID uint64

// String is the id as 16 hexadecimal digits.
func (id NodeID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// Origin names a daemon and its chain, as NodeID names a node.
type Origin uint64

// String is the origin as 16 hexadecimal digits.
func (o Origin) String() string { return fmt.Sprintf("%016x", uint64(o)) }

// NodeIDOf gives the id of the node with this public key. Like ed25519.Verify
// it panics when the key does not have 32 bytes; any 32 bytes have an id.
func NodeIDOf(pub ed25519.PublicKey) NodeID { return NodeID(nameOf(nodeIDLabel, pub)) }

// OriginOf gives the origin of the daemon with this public key. Like
// ed25519.Verify it panics when the key does not have 32 bytes.
func OriginOf(pub ed25519.PublicKey) Origin { return Origin(nameOf(originLabel, pub)) }

func nameOf(label string, pub ed25519.PublicKey) uint64 {
	if len(pub) != ed25519.PublicKeySize {
		panic(fmt.Sprintf("identity: a public key has %d bytes, not %d", ed25519.PublicKeySize, len(pub)))
	}
	digest := keyedHash(label, pub)
	return binary.LittleEndian.Uint64(digest[:])
}

// keyedHash is BLAKE2s-256 in its own keyed mode over the parts joined.
func keyedHash(label string, parts ...[]byte) (digest [blake2s.Size]byte) {
	h, err := blake2s.New256([]byte(label))
	if err != nil {
		panic(err) // only for a label over 32 bytes, and the labels are ours
	}
	for _, part := range parts {
		h.Write(part)
	}
	h.Sum(digest[:0])
	return digest
}
