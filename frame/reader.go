package frame

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// growBytes is what a Reader allocates ahead of the bytes that arrive: a header that promises megabytes and brings
// none costs no more than this.
const growBytes = 64 << 10

// Reader reads frames from a byte stream, one at a time, and never a byte beyond the frame it returns: the stream can
// be handed on between frames. It is not for use by several goroutines at once.
type Reader struct {
	r    io.Reader
	lim  Limits
	head [HeaderBytes]byte
	buf  []byte
}

// NewReader reads frames within lim from r.
func NewReader(r io.Reader, lim Limits) *Reader {
	return &Reader{r: r, lim: lim}
}

// SetLimits is for the frames to come, once a peer's hello is known.
func (r *Reader) SetLimits(lim Limits) { r.lim = lim }

// Next reads and verifies the next frame, which is borrowed until the next call. At the end of the stream it returns
// io.EOF between two frames, and inside one a DecodeError that wraps ErrTruncated and io.ErrUnexpectedEOF. Another
// error of the stream is passed on as it is. After any error but io.EOF the stream has no frame boundary any more and
// must be given up.
func (r *Reader) Next() (Frame, error) {
	if n, err := io.ReadFull(r.r, r.head[:]); err != nil {
		if n == 0 && err == io.EOF {
			return Frame{}, io.EOF
		}
		return Frame{}, cut("header", n, err)
	}
	h, err := ParseHeader(r.head[:], &r.lim)
	if err != nil {
		return Frame{}, err
	}
	length := int(h.Length)
	r.buf = r.buf[:0]
	for have := 0; have < length; have = len(r.buf) {
		if have == cap(r.buf) {
			// Twice what has come, so that the peer pays for what we allocate.
			r.buf = slices.Grow(r.buf, min(length-have, max(have, growBytes)))
		}
		next := min(length, cap(r.buf))
		n, err := io.ReadFull(r.r, r.buf[have:next])
		r.buf = r.buf[:have+n]
		if err != nil {
			return Frame{}, cut("message", HeaderBytes+have+n, err)
		}
	}
	message := r.buf[:length:length]
	if err := h.Verify(message, nil); err != nil {
		return Frame{}, err
	}
	return Frame{header: h, message: message}, nil
}

func cut(field string, offset int, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return headerError(field, offset, fmt.Errorf("%w: %w", ErrTruncated, io.ErrUnexpectedEOF))
	}
	return err
}
