package proto0500

import "ferry/frame"

// Most messages have the same size always. Their length is compared once, and the fields lie where they lie: the cursor,
// which remembers where it stands after every field, comes only to say what is wrong, when something is.

const (
	originBytes = 1 + 8           // discriminant, daemon_origin
	pairBytes   = originBytes + 8 // and one more number
)

// sizedField is a field of a message that has the same size always.
type sizedField struct {
	name  string
	bytes int
}

// exactly says that b is a message of kind k, if that kind has this size.
func exactly(b []byte, k Kind, size int) bool { return len(b) == size && b[0] == byte(k) }

// misfit says what is wrong with b, which is not exactly a message of kind k with these fields after its origin.
func misfit(b []byte, k Kind, fields ...sizedField) error {
	c := frame.NewCursor(k.String(), b)
	c.Expect("discriminant", uint8(k))
	c.U64("daemon_origin")
	for _, f := range fields {
		c.Bytes(f.name, f.bytes)
	}
	return c.Done()
}
