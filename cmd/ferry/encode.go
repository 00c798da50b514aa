package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"ferry/frame"
	"ferry/proto0500"
	"ferry/proto0500/jsonform"
)

func newEncodeCmd() *cobra.Command {
	var form wireForm
	cmd := &cobra.Command{
		Use:   "encode",
		Short: "Turn lines of JSON into lines of message hex",
		Long: `Read lines of JSON from stdin, as ferry decode writes them, and write each message as one line of hex. The members of
an object may come in any order; a member that is missing, unknown or out of range is an error that names it. So that
lines of golden vectors can be fed as they are, "name", "hex" and "why" beside "message" are allowed, and not read.

` + lineErrorHelp,
		Example: `  echo '{"message":"CleanupComplete","fields":{"daemon_origin":"1"}}' | ferry encode
  ferry decode < captured.hex | ferry encode | diff captured.hex -
  echo '{"epoch":"7","message":"Query","fields":{"daemon_origin":"0"}}' | ferry encode --frame --ext`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e := encoder{form: form, limits: frame.NetMesh()}
			return linesResult(filterLines(cmd.InOrStdin(), cmd.OutOrStdout(), e.answer))
		},
	}
	form.flags(cmd)
	return cmd
}

// encoder answers lines of JSON. Its buffers are used again for every line.
type encoder struct {
	form   wireForm
	limits frame.Limits
	object []byte // "message" and "fields" alone
	raw    []byte
}

func (e *encoder) answer(dst, line []byte) ([]byte, bool) {
	out, err := e.encode(dst, line)
	if err != nil {
		return appendLineError(dst, err), false
	}
	return out, true
}

func (e *encoder) encode(dst, line []byte) ([]byte, error) {
	if line == nil {
		return dst, &inputError{field: "line", err: errLineTooLong}
	}
	epoch, m, err := e.read(line)
	if err != nil {
		return dst, err
	}
	if m.Kind().Extension() && !e.form.extension {
		return dst, &jsonform.FieldError{Field: "message", Err: fmt.Errorf("%w: %v is ferry's own: give --ext", frame.ErrUnknown, m.Kind())}
	}
	e.raw = e.raw[:0]
	if e.form.frame {
		e.raw = frame.Begin(e.raw)
	}
	if e.raw, err = m.Append(e.raw, &e.limits); err != nil {
		return dst, err
	}
	if e.form.frame {
		if err := frame.Finish(e.raw, 0, epoch, &e.limits); err != nil {
			return dst, err
		}
	}
	return hex.AppendEncode(dst, e.raw), nil
}

// read reads the line. Most lines are what jsonform reads and nothing else; the others are taken apart first, and so are
// bad ones, for the place of the error.
func (e *encoder) read(line []byte) (frame.Epoch, proto0500.Message, error) {
	if !e.form.frame {
		if m, err := jsonform.Unmarshal(line); err == nil {
			return 0, m, nil
		}
	}
	epoch, err := e.split(line)
	if err != nil {
		return 0, nil, err
	}
	m, err := jsonform.Unmarshal(e.object)
	return epoch, m, err
}

// split takes the line apart into the epoch of its frame and, in e.object, what jsonform reads.
func (e *encoder) split(line []byte) (epoch frame.Epoch, err error) {
	var message, fields, frameEpoch json.RawMessage
	err = readMembers(line, func(name string, value json.RawMessage) error {
		var into *json.RawMessage
		switch {
		case name == "message":
			into = &message
		case name == "fields":
			into = &fields
		case name == "epoch" && e.form.frame:
			into = &frameEpoch
		case name == "name" || name == "hex" || name == "why":
			return nil
		default:
			return &jsonform.FieldError{Field: name, Err: jsonform.ErrExtra}
		}
		if *into != nil {
			return &jsonform.FieldError{Field: name, Err: jsonform.ErrTwice}
		}
		*into = value
		return nil
	})
	if err != nil {
		return 0, err
	}
	if message == nil {
		return 0, &jsonform.FieldError{Field: "message", Err: jsonform.ErrMissing}
	}
	if fields == nil {
		return 0, &jsonform.FieldError{Field: "fields", Err: jsonform.ErrMissing}
	}
	if e.form.frame {
		if epoch, err = parseEpoch(frameEpoch); err != nil {
			return 0, &jsonform.FieldError{Field: "epoch", Err: err}
		}
	}
	e.object = append(append(e.object[:0], `{"message":`...), message...)
	e.object = append(append(e.object, `,"fields":`...), fields...)
	e.object = append(e.object, '}')
	return epoch, nil
}

func parseEpoch(text json.RawMessage) (frame.Epoch, error) {
	if text == nil {
		return 0, jsonform.ErrMissing
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return 0, fmt.Errorf("%w: %.40s is not a decimal string", frame.ErrValue, text)
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%w: %.40q is not an integer of 64 bits", frame.ErrValue, s)
	}
	return frame.Epoch(n), nil
}

// readMembers calls member for each member of the JSON object that is the whole of line. What is not JSON is an
// *inputError with the place.
func readMembers(line []byte, member func(name string, value json.RawMessage) error) error {
	dec := json.NewDecoder(bytes.NewReader(line))
	bad := func(err error) error {
		offset := dec.InputOffset()
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			offset = syntax.Offset
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return &inputError{field: "json", offset: int(offset), err: fmt.Errorf("%w: %w", errJSON, err)}
	}
	first, err := dec.Token()
	if err != nil {
		return bad(err)
	}
	if first != json.Delim('{') {
		return bad(errors.New("an object is wanted"))
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return bad(err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return bad(err)
		}
		// An object's names are strings: the decoder has seen to it.
		if err := member(name.(string), value); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return bad(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return bad(errors.New("more after the object"))
	}
	return nil
}
