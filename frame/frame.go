package frame

import (
	"fmt"
	"math"
)

// Frame is a verified frame. Its message is borrowed from the bytes it was parsed from, or from the Reader.
type Frame struct {
	header  Header
	message []byte
}

// Epoch is the attempt that the frame belongs to.
func (f Frame) Epoch() Epoch { return f.header.Epoch }

// Header is the header as it was read.
func (f Frame) Header() Header { return f.header }

// Message is the message, discriminant first: never empty. It aliases what the frame was parsed from, is capped, and
// is good as long as that is; from a Reader, until its next call.
func (f Frame) Message() []byte { return f.message }

// Parse reads the frame at the beginning of b, verifies its checksum, and returns the bytes after it. The frame
// borrows from b.
func Parse(b []byte, lim *Limits) (f Frame, rest []byte, err error) {
	h, err := ParseHeader(b, lim)
	if err != nil {
		return Frame{}, b, err
	}
	if uint64(len(b)-HeaderBytes) < uint64(h.Length) {
		err := fmt.Errorf("%w: %d of %d bytes", ErrTruncated, len(b)-HeaderBytes, h.Length)
		return Frame{}, b, headerError("message", HeaderBytes, err)
	}
	end := HeaderBytes + int(h.Length)
	message := b[HeaderBytes:end:end]
	if err := h.Verify(message, nil); err != nil {
		return Frame{}, b, err
	}
	return Frame{header: h, message: message}, b[end:], nil
}

// Append appends a frame around msg. On error dst is returned as it was.
func Append(dst []byte, e Epoch, msg []byte, lim *Limits) ([]byte, error) {
	return AppendSplit(dst, e, msg, nil, lim)
}

// AppendSplit appends the frame of the message head ++ bulk up to the end of head. The caller sends bulk after it, from
// where it lies. On error dst is returned as it was.
func AppendSplit(dst []byte, e Epoch, head, bulk []byte, lim *Limits) ([]byte, error) {
	h, err := headerOf(e, head, bulk, lim)
	if err != nil {
		return dst, err
	}
	at := len(dst)
	dst = append(Begin(dst), head...)
	h.put(dst[at:])
	return dst, nil
}

// Begin reserves a header at the end of dst. The caller appends the message after it and calls Finish with the length
// that dst had before.
func Begin(dst []byte) []byte {
	return append(dst, make([]byte, HeaderBytes)...)
}

// Finish fills the header at buf[at:] for the message buf[at+HeaderBytes:], which a message's Append may have refused
// to write: an empty message is an error. A header that was never begun is a mistake of ours, and panics.
func Finish(buf []byte, at int, e Epoch, lim *Limits) error {
	h, err := headerOf(e, buf[at+HeaderBytes:], nil, lim)
	if err != nil {
		return err
	}
	h.put(buf[at:])
	return nil
}

func headerOf(e Epoch, head, bulk []byte, lim *Limits) (Header, error) {
	n := uint64(len(head)) + uint64(len(bulk))
	if n == 0 {
		return Header{}, &EncodeError{Message: "frame", Field: "message", Err: fmt.Errorf("%w: empty", ErrValue)}
	}
	if n > uint64(lim.MessageBytesMax) || n > math.MaxUint32 {
		return Header{}, &EncodeError{Message: "frame", Field: "message", Err: OverLimit(n, uint64(lim.MessageBytesMax))}
	}
	h := Header{Length: uint32(n), Epoch: e}
	h.Checksum = h.sum(head, bulk)
	return h, nil
}
