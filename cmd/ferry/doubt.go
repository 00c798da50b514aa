package main

import (
	"fmt"
	"io"
	"strings"

	"ferry/cluster"
)

// doubtStatus is a daemon for which somebody is needed: to bring a node back, or
// to decide.
type doubtStatus struct {
	Daemon string `json:"daemon"`
	Epoch  string `json:"epoch,omitempty"`
	Source string `json:"source,omitempty"`
	Target string `json:"target,omitempty"`
	Owners int    `json:"owners,omitempty"` // where there are too many
	Text   string `json:"text"`
}

// doubts are those of all daemons, from what the nodes say.
func doubts(file *cluster.File, all []answer) []doubtStatus {
	list := []doubtStatus{}
	for _, s := range surveys(file, all) {
		if owners := s.owners(); len(owners) > 1 {
			names := make([]string, len(owners))
			for i, id := range owners {
				names[i] = s.node(id)
			}
			list = append(list, doubtStatus{Daemon: s.name, Owners: len(owners), Text: fmt.Sprintf(
				"TWO OWNERS: %s accept writes; this follows a force order for a node that was not dead: stop one, and keep its data apart", strings.Join(names, " and "))})
		}
		for _, a := range s.attempts() {
			if text := a.doubt(); text != "" {
				list = append(list, doubtStatus{
					Daemon: s.name, Epoch: fmt.Sprint(uint64(a.epoch)), Source: s.node(a.source), Target: s.node(a.target), Text: text,
				})
			}
		}
	}
	return list
}

// writeDoubts is for people.
func writeDoubts(w io.Writer, list []doubtStatus) error {
	for i, d := range list {
		before := ""
		if i == 0 {
			before = "\n"
		}
		line := fmt.Sprintf("%s: in doubt: %s; bring it back, or, where it is gone for good, see `ferry settle --help`", d.Daemon, d.Text)
		if d.Owners > 0 {
			line = d.Daemon + ": " + d.Text
		}
		if _, err := fmt.Fprintln(w, before+line); err != nil {
			return err
		}
	}
	return nil
}
