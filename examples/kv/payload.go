package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Op is what an event does.
type Op uint8

const (
	OpPut    Op = 1
	OpDelete Op = 2
)

func (o Op) String() string {
	switch o {
	case OpPut:
		return "put"
	case OpDelete:
		return "delete"
	}
	return fmt.Sprintf("op(%d)", uint8(o))
}

// Limits of a command, in bytes. A key has at least one byte.
const (
	KeyBytesMax     = 1 << 10
	ValueBytesMax   = 4 << 20
	PayloadBytesMax = payloadHeadBytes + KeyBytesMax + ValueBytesMax
)

const payloadHeadBytes = 1 + 2

// What is wrong with a command or a payload; a *[PayloadError] wraps one of these.
var (
	ErrKeySize   = errors.New("key is empty or over 1024 bytes")
	ErrValueSize = errors.New("value is over 4 MiB")
	ErrTruncated = errors.New("payload ends too early")
	ErrOp        = errors.New("unknown operation")
	ErrTrailing  = errors.New("delete with a value")
)

// PayloadError says why a command cannot be encoded, or a payload not be read.
// Bytes is the size, or the number, that was found there.
type PayloadError struct {
	Field string
	Bytes int
	Err   error
}

func (e *PayloadError) Error() string {
	return fmt.Sprintf("kv: %s: %v (%d)", e.Field, e.Err, e.Bytes)
}

func (e *PayloadError) Unwrap() error { return e.Err }

// Command is an event's payload, taken apart.
//
//	off size field
//	  0    1  op       1 put, 2 delete
//	  1    2  key_len  1..1024, little endian
//	  3    k  key
//	3+k    …  value    the rest, 0..4 MiB; nothing after a delete
type Command struct {
	Op    Op
	Key   []byte
	Value []byte // nil for a delete
}

// EncodePut is the payload that sets key to value.
func EncodePut(key, value []byte) ([]byte, error) {
	if len(value) > ValueBytesMax {
		return nil, &PayloadError{Field: "value", Bytes: len(value), Err: ErrValueSize}
	}
	return encode(OpPut, key, value)
}

// EncodeDelete is the payload that removes key. Removing a key that is not
// there is an event like any other.
func EncodeDelete(key []byte) ([]byte, error) { return encode(OpDelete, key, nil) }

func encode(op Op, key, value []byte) ([]byte, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	b := make([]byte, 0, payloadHeadBytes+len(key)+len(value))
	b = append(b, byte(op))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(key)))
	b = append(b, key...)
	return append(b, value...), nil
}

func checkKey(key []byte) error {
	if len(key) == 0 || len(key) > KeyBytesMax {
		return &PayloadError{Field: "key", Bytes: len(key), Err: ErrKeySize}
	}
	return nil
}

// Decode takes a payload apart. Key and value are borrowed from it.
func Decode(payload []byte) (Command, error) {
	if len(payload) < payloadHeadBytes {
		return Command{}, &PayloadError{Field: "head", Bytes: len(payload), Err: ErrTruncated}
	}
	op := Op(payload[0])
	if op != OpPut && op != OpDelete {
		return Command{}, &PayloadError{Field: "op", Bytes: int(op), Err: ErrOp}
	}
	keyLen := int(binary.LittleEndian.Uint16(payload[1:]))
	rest := payload[payloadHeadBytes:]
	if keyLen == 0 || keyLen > KeyBytesMax {
		return Command{}, &PayloadError{Field: "key_len", Bytes: keyLen, Err: ErrKeySize}
	}
	if len(rest) < keyLen {
		return Command{}, &PayloadError{Field: "key", Bytes: len(rest), Err: ErrTruncated}
	}
	c := Command{Op: op, Key: rest[:keyLen:keyLen]}
	value := rest[keyLen:len(rest):len(rest)]
	switch {
	case op == OpDelete && len(value) > 0:
		return Command{}, &PayloadError{Field: "value", Bytes: len(value), Err: ErrTrailing}
	case len(value) > ValueBytesMax:
		return Command{}, &PayloadError{Field: "value", Bytes: len(value), Err: ErrValueSize}
	case op == OpPut:
		c.Value = value
	}
	return c, nil
}
