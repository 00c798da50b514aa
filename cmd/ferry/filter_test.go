package main

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

func echo(dst, line []byte) ([]byte, bool) {
	return append(append(dst, '>'), line...), string(line) != "bad"
}

func TestFilterLines(t *testing.T) {
	long := strings.Repeat("x", 3*filterBufferBytes+1)
	full := strings.Repeat("y", filterBufferBytes-1)
	for _, c := range []struct {
		name       string
		in, out    string
		lines, bad int
	}{
		{"nothing", "", "", 0, 0},
		{"one empty line", "\n", ">\n", 1, 0},
		{"no end of line", "a", ">a\n", 1, 0},
		{"empty lines count", "a\n\n\nb", ">a\n>\n>\n>b\n", 4, 0},
		{"other ends of line", "a\r\n\r\nb\r\n", ">a\n>\n>b\n", 3, 0},
		{"bad ones are counted", "bad\na\nbad", ">bad\n>a\n>bad\n", 3, 2},
		{"longer than the buffer", long + "\na\n" + long, ">" + long + "\n>a\n>" + long + "\n", 3, 0},
		{"as long as the buffer", full + "\n" + full + "y\n" + full + "yy\n", ">" + full + "\n>" + full + "y\n>" + full + "yy\n", 3, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			lines, bad, err := filterLines(strings.NewReader(c.in), &out, echo)
			if err != nil || lines != c.lines || bad != c.bad {
				t.Errorf("%d lines, %d bad, %v; want %d, %d", lines, bad, err, c.lines, c.bad)
			}
			if out.String() != c.out {
				t.Errorf("got  %.80q…\nwant %.80q…", out.String(), c.out)
			}
		})
	}
}

// Somebody who waits for an answer before writing the next line gets it.
func TestFilterAnswersEachLine(t *testing.T) {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	done := make(chan error)
	go func() {
		_, _, err := filterLines(inR, outW, echo)
		outW.Close()
		done <- err
	}()
	answers := bufio.NewReader(outR)
	for _, line := range []string{"one", "", "three"} {
		if _, err := io.WriteString(inW, line+"\n"); err != nil {
			t.Fatal(err)
		}
		if got, err := answers.ReadString('\n'); err != nil || got != ">"+line+"\n" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	inW.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestFilterReportsIO(t *testing.T) {
	boom := errors.New("boom")
	var out strings.Builder
	in := io.MultiReader(strings.NewReader("a\nb\n"), failing{boom})
	if lines, _, err := filterLines(in, &out, echo); !errors.Is(err, boom) || lines != 2 || out.String() != ">a\n>b\n" {
		t.Errorf("%d lines, %q, %v", lines, out.String(), err)
	}
	if _, _, err := filterLines(strings.NewReader("a\n"), failing{boom}, echo); !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
	// The writer's failure ends a filter whose input never does.
	endless := io.MultiReader(strings.NewReader("a\n"), neverEnds{})
	if _, _, err := filterLines(endless, failing{boom}, echo); !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
}

type neverEnds struct{}

func (neverEnds) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '\n'
	}
	return len(p), nil
}
