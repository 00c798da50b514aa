package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"ferry/frame"
	"ferry/proto0500"
	"ferry/proto0500/jsonform"
)

const lineErrorHelp = `Every line gets one line, in order. A bad one gets {"error":…,"kind":…,"field":…,"offset":…}, and the exit code is 1 at
the end. kind is one of truncated, trailing, limit, checksum, subprotocol, version, flags, unknown, value, text, hex,
json, missing, extra, twice; field is in the words of the protocol; offset counts bytes, and is null where there is
no place to point at.`

func newDecodeCmd() *cobra.Command {
	var form wireForm
	cmd := &cobra.Command{
		Use:   "decode",
		Short: "Turn lines of message hex into lines of JSON",
		Long: `Read messages of subprotocol 0x0500 from stdin, one in hex on each line, and write each as one line of JSON:

  {"message":"TakeSnapshot","fields":{"daemon_origin":"0","target_node":"11123019285159506082"}}

A u64 is a decimal string, a smaller integer a number, bytes are lower-case hex. An empty line is an empty message. The
limits are those of net-mesh: 7000 bytes a chunk and an event, 700000 chunks, 1000000 events.

` + lineErrorHelp,
		Example: `  echo 050100000000000000 | ferry decode
  ferry decode < captured.hex | jq -c 'select(.error)'
  ferry decode --frame --ext < frames.hex`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := decoder{form: form, limits: frame.NetMesh()}
			return linesResult(filterLines(cmd.InOrStdin(), cmd.OutOrStdout(), d.answer))
		},
	}
	form.flags(cmd)
	return cmd
}

// wireForm says what stands in hex on a line.
type wireForm struct {
	frame     bool // a whole frame, not only the message in it
	extension bool // our own messages too
}

func (f *wireForm) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.frame, "frame", false, `whole frames: 24 bytes of header before the message, "epoch" in the JSON`)
	cmd.Flags().BoolVar(&f.extension, "ext", false, "ferry's own messages too, not only the ten of the protocol")
}

// decoder answers lines of hex. Its buffer is used again for every line.
type decoder struct {
	form   wireForm
	limits frame.Limits
	raw    []byte
}

func (d *decoder) answer(dst, line []byte) ([]byte, bool) {
	out, err := d.decode(dst, line)
	if err != nil {
		return appendLineError(dst, err), false
	}
	return out, true
}

func (d *decoder) decode(dst, line []byte) ([]byte, error) {
	raw, err := unhex(d.raw[:0], line)
	d.raw = raw
	if err != nil {
		return dst, err
	}
	if !d.form.frame {
		text, err := d.message(raw)
		return append(dst, text...), err
	}
	f, rest, err := frame.Parse(raw, &d.limits)
	if err != nil {
		return dst, err
	}
	if len(rest) > 0 {
		return dst, &frame.DecodeError{Message: "frame", Field: "end", Offset: len(raw) - len(rest),
			Err: fmt.Errorf("%w: %d", frame.ErrTrailing, len(rest))}
	}
	text, err := d.message(f.Message())
	if err != nil {
		if e, ok := errors.AsType[*frame.DecodeError](err); ok {
			e.Offset += frame.HeaderBytes // counted from the line's begin
		}
		return dst, err
	}
	dst = strconv.AppendUint(append(dst, `{"epoch":"`...), uint64(f.Epoch()), 10)
	return append(append(dst, `",`...), text[len("{"):]...), nil
}

func (d *decoder) message(raw []byte) ([]byte, error) {
	decode := proto0500.DecodeBase
	if d.form.extension {
		decode = proto0500.Decode
	}
	m, err := decode(raw, &d.limits)
	if err != nil {
		return nil, err
	}
	return jsonform.Marshal(m)
}

// unhex appends the bytes that line spells, in either case, to dst.
func unhex(dst, line []byte) ([]byte, error) {
	if line == nil {
		return dst, &inputError{field: "line", err: errLineTooLong}
	}
	start := len(dst)
	dst = slices.Grow(dst, hex.DecodedLen(len(line)))
	n, err := hex.Decode(dst[start:start+hex.DecodedLen(len(line))], line)
	dst = dst[:start+n]
	if err == nil {
		return dst, nil
	}
	bad := &inputError{field: "hex", offset: n, err: fmt.Errorf("%w: half a byte at the end of the line", errHex)}
	if digit, ok := errors.AsType[hex.InvalidByteError](err); ok {
		bad.err = fmt.Errorf("%w: %q", errHex, byte(digit))
	}
	return dst, bad
}
