package proto0500

import "fmt"

// State is what a node is for a daemon, as a Report says it: the states of its record, and those of an attempt that
// live in memory only.
type State uint8

const (
	StateNone     State = 0
	StateServing  State = 1
	StateRetired  State = 2
	StateMoved    State = 3
	StateBegun    State = 4 // in memory, as all that follow
	StateCopying  State = 5
	StateFrozen   State = 6
	StatePrepared State = 7
	StateRestored State = 8
	StateSealed   State = 9
)

func (s State) known() bool { return s <= StateSealed }

func (s State) String() string {
	switch s {
	case StateNone:
		return "none"
	case StateServing:
		return "serving"
	case StateRetired:
		return "retired"
	case StateMoved:
		return "moved"
	case StateBegun:
		return "begun"
	case StateCopying:
		return "copying"
	case StateFrozen:
		return "frozen"
	case StatePrepared:
		return "prepared"
	case StateRestored:
		return "restored"
	case StateSealed:
		return "sealed"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}
