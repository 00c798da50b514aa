package daemon

import "ferry/proto0500"

// strangersMax bounds the daemons that this node was asked to take and never
// had: each refusal that is final must be remembered (safety.md, R2), and costs
// a record and some kilobytes. Beyond it nothing is written, and whoever asks is
// told to come back.
const strangersMax = 1024

// tooManyStrangers says whether there is no place for one more.
func (h *Host) tooManyStrangers() bool {
	n := 0
	for _, st := range h.each() {
		if sit := st.now.Load(); sit == nil || sit.report.State == proto0500.StateNone {
			n++
		}
	}
	return n >= strangersMax
}
