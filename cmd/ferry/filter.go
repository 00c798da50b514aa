package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

const filterBufferBytes = 256 << 10

// lineBytesMax: a line longer than any message is answered with an error, and not kept.
const lineBytesMax int64 = 4 << 30

var errLineTooLong = fmt.Errorf("over %d bytes", lineBytesMax)

// filterLines answers every line of r with one line on w, and says how many of them were bad. A last line without an
// end counts; "\r\n" ends a line too. A line is held in memory whole, as a message is.
//
// answer appends the answer, without the end of line, to dst: line is nil where it was over lineBytesMax. What has
// been answered is written before r is waited for, so that somebody can talk to the filter line by line.
func filterLines(r io.Reader, w io.Writer, answer func(dst, line []byte) (out []byte, ok bool)) (lines, bad int, err error) {
	bw := bufio.NewWriterSize(w, filterBufferBytes)
	br := bufio.NewReaderSize(&flushFirst{r: r, w: bw}, filterBufferBytes)
	var long, out []byte
	for {
		line, err := nextLine(br, &long)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, errLineTooLong) {
			// The reader writes first: its error may be the writer's, which the writer keeps.
			if err := bw.Flush(); err != nil {
				return lines, bad, fmt.Errorf("write the answers: %w", err)
			}
			return lines, bad, fmt.Errorf("read line %d: %w", lines+1, err)
		}
		lines++
		var ok bool
		out, ok = answer(out[:0], line)
		if !ok {
			bad++
		}
		out = append(out, '\n')
		if _, err := bw.Write(out); err != nil {
			return lines, bad, fmt.Errorf("write the answer to line %d: %w", lines, err)
		}
	}
	if err := bw.Flush(); err != nil {
		return lines, bad, fmt.Errorf("write the answers: %w", err)
	}
	return lines, bad, nil
}

// nextLine reads one line, without its end. The line is borrowed until the next call, from the reader or, when it is
// longer than the reader's buffer, from *long. io.EOF: there is no other.
func nextLine(br *bufio.Reader, long *[]byte) ([]byte, error) {
	part, err := br.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return endOfLine(part, err)
	}
	buf := append((*long)[:0], part...)
	for errors.Is(err, bufio.ErrBufferFull) {
		part, err = br.ReadSlice('\n')
		if int64(len(buf)) <= lineBytesMax {
			buf = append(buf, part...)
		}
	}
	*long = buf
	line, err := endOfLine(buf, err)
	if err == nil && int64(len(line)) > lineBytesMax {
		return nil, errLineTooLong
	}
	return line, err
}

func endOfLine(line []byte, err error) ([]byte, error) {
	if errors.Is(err, io.EOF) && len(line) > 0 {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), nil
}

// flushFirst writes out what is buffered before it reads.
type flushFirst struct {
	r io.Reader
	w *bufio.Writer
}

func (f *flushFirst) Read(p []byte) (int, error) {
	if err := f.w.Flush(); err != nil {
		return 0, err
	}
	return f.r.Read(p)
}

// linesResult is the error of a filter that met bad lines: they have been answered, so that the exit code is what is
// left to say.
func linesResult(lines, bad int, err error) error {
	if err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d lines are bad: see the lines with \"error\" on stdout", bad, lines)
	}
	return nil
}
