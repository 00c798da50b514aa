package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes; scripts depend on them.
const (
	exitDone       = 0
	exitFailed     = 1 // or nothing was begun
	exitUsage      = 2
	exitRolledBack = 3 // the daemon still serves at its source
	exitInDoubt    = 4
)

// exitError is how a command chooses its exit code. An error of a command that is none is exitFailed.
type exitError struct {
	code int
	err  error // nil: everything has been said
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usagef is the error of a command that was called wrongly.
func usagef(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// wrapRuns gives every error that comes out of a command its exit code. What then comes out of cobra without one is
// cobra's own: an unknown flag, a missing argument.
func wrapRuns(cmd *cobra.Command) {
	if runE := cmd.RunE; runE != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			err := runE(cmd, args)
			if err == nil {
				return nil
			}
			if _, ok := errors.AsType[*exitError](err); ok {
				return err
			}
			return &exitError{code: exitFailed, err: err}
		}
	}
	for _, sub := range cmd.Commands() {
		wrapRuns(sub)
	}
}

// explain turns an error of the command tree into the exit code and the one line that stderr gets.
func explain(cmd *cobra.Command, err error) (code int, line string) {
	code = exitUsage
	if e, ok := errors.AsType[*exitError](err); ok {
		code = e.code
	}
	line = oneLine(err.Error())
	if code == exitUsage && line != "" {
		line += fmt.Sprintf(" (see %s --help)", cmd.CommandPath())
	}
	return code, line
}

// oneLine is for a text that may be a peer's where it must not make lines or columns of its own.
func oneLine(s string) string {
	if strings.ContainsAny(s, "\r\n\t") {
		s = strings.Join(strings.Fields(s), " ")
	}
	return escape(s)
}
