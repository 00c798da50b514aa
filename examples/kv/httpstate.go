package kv

import (
	"encoding/hex"
	"fmt"
	"net/http"

	"ferry/frame"
	"ferry/proto0500"
)

// State is what /state tells of a node. Seq, Head and Digest are of one moment;
// they are 0 and empty where the node has no state of the daemon.
type State struct {
	Authority bool          `json:"authority"`
	Seq       proto0500.Seq `json:"seq"`
	Head      string        `json:"head"` // the last event's link, 64 hex digits
	Epoch     frame.Epoch   `json:"epoch"`
	Digest    string        `json:"digest"` // 16 hex digits
	Keys      uint64        `json:"keys"`
	// Recount is the digest counted anew, of the same moment. It is there when
	// it was asked for.
	Recount string `json:"recount,omitempty"`
}

func (h *handler) serveState(w http.ResponseWriter, r *http.Request) {
	view := h.view(r)
	st := State{Authority: view.Authority, Epoch: view.Epoch}
	if view.Store != nil {
		if err := st.fill(view.Store, r.URL.Query().Get("recount") == "1"); err != nil {
			// Always an answer: it left, or cannot be read, and the empty fields say so.
			h.opts.Log.Warn("state without a store", "err", err)
		}
	}
	answer(w, http.StatusOK, st)
}

func (st *State) fill(s *Store, recount bool) error {
	pos, err := s.Position()
	if err != nil {
		return err
	}
	if recount {
		said, counted, err := s.Recount()
		if err != nil {
			return err
		}
		pos = said
		st.Recount = digestText(Position{Head: said.Head, Content: counted})
	}
	st.Seq = pos.Head.Seq
	st.Head = hex.EncodeToString(pos.Head.Link.Append(nil))
	st.Digest = digestText(pos)
	st.Keys = pos.Keys
	return nil
}

func digestText(p Position) string { return fmt.Sprintf("%016x", p.Digest()) }
