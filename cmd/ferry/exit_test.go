package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/spf13/cobra"
)

func TestExitCodes(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name string
		err  error
		code int
		line string
	}{
		{"plain", boom, exitFailed, "boom"},
		{"usage", usagef("give %s", "more"), exitUsage, "give more (see ferry do --help)"},
		{"rolled back", &exitError{code: exitRolledBack, err: boom}, exitRolledBack, "boom"},
		{"in doubt, wrapped", fmt.Errorf("migrate: %w", &exitError{code: exitInDoubt, err: boom}), exitInDoubt, "migrate: boom"},
		{"said already", &exitError{code: exitFailed}, exitFailed, ""},
		{"several lines", errors.Join(boom, boom), exitFailed, "boom boom"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := newRootCmd()
			do := &cobra.Command{Use: "do", RunE: func(*cobra.Command, []string) error { return c.err }}
			root.AddCommand(do)
			wrapRuns(do)
			root.SetArgs([]string{"do"})
			cmd, err := root.ExecuteContextC(context.Background())
			code, line := explain(cmd, err)
			if code != c.code || line != c.line {
				t.Errorf("exit %d %q, want %d %q", code, line, c.code, c.line)
			}
		})
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]size{
		"64MiB": 64 << 20, "1GiB": 1 << 30, "1 GiB": 1 << 30, "1.5KiB": 1536, "1MB": 1e6, "4096": 4096, "0": 0,
	} {
		var s size
		if err := s.Set(text); err != nil || s != want {
			t.Errorf("%q: %d, %v", text, uint64(s), err)
		}
	}
	for _, text := range []string{"", "-1", "MiB", "64 apples", "9EiB", "99999999999GiB"} {
		s := size(7)
		if err := s.Set(text); err == nil || s != 7 {
			t.Errorf("%q: %d, %v", text, uint64(s), err)
		}
	}
	if s := size(64 << 20).String(); s != "64 MiB" {
		t.Error(s)
	}
}
