package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"ferry/cluster"
	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
)

// moveResult is what ferry migrate prints. Numbers that may need 64 bits are
// strings.
type moveResult struct {
	Daemon     string             `json:"daemon"`
	Origin     string             `json:"origin_hash"`
	From       string             `json:"from"`
	To         string             `json:"to"`
	Outcome    string             `json:"outcome"`
	Text       string             `json:"text,omitempty"`
	Reason     string             `json:"reason,omitempty"`
	Epoch      string             `json:"epoch"`
	Seq        string             `json:"seq"`
	StateBytes uint64             `json:"state_bytes"`
	BytesMoved uint64             `json:"bytes_moved"`
	BytesWire  uint64             `json:"bytes_on_wire"`
	RateLimit  uint64             `json:"rate_limit,omitempty"` // the last one, bytes a second
	Chunks     uint64             `json:"chunks"`
	Events     uint64             `json:"events_shipped"`
	Encoded    encodedResult      `json:"encoded"`
	Resumes    uint64             `json:"resumes"` // of a broken connection
	Resent     resentResult       `json:"sent_again"`
	Lanes      []laneResult       `json:"lanes"`
	Phases     []phaseResult      `json:"phases"`
	Seconds    float64            `json:"seconds"`
	BlackoutMs float64            `json:"blackout_ms"`
	Blackout   map[string]float64 `json:"blackout_parts_ms,omitempty"`

	code     int
	notReady bool // refused for now: the same may succeed later
}

type laneResult struct {
	Lane   int    `json:"lane"`
	Bytes  uint64 `json:"bytes"`
	Chunks uint64 `json:"chunks"`
}

// encodedResult is how the chunks travelled: the frames' bytes, and of the
// snapshot's bytes those that did not go as they are.
type encodedResult struct {
	Frames uint64 `json:"frames"`
	Zeros  uint64 `json:"zeros"`
	S2     uint64 `json:"s2"`
	Zstd   uint64 `json:"zstd"`
	Held   uint64 `json:"held"` // the target had them already
}

// resentResult is what a broken connection cost; it is in no other count but
// bytes_on_wire.
type resentResult struct {
	Chunks uint64 `json:"chunks"`
	Bytes  uint64 `json:"bytes"`
	Events uint64 `json:"events"`
}

type phaseResult struct {
	Phase string  `json:"phase"`
	Ms    float64 `json:"ms"`
	At    int64   `json:"at"` // when it began, nanoseconds since 1970
}

// outcomeThere is the outcome of a move that need not be made.
const outcomeThere = "already there"

// newMoveResult is a move that has not begun.
func newMoveResult(daemon string, from, to cluster.Node, r proto0500.Report) moveResult {
	return moveResult{
		Daemon: daemon, Origin: fmt.Sprint(uint64(r.DaemonOrigin)), From: from.Name, To: to.Name,
		Epoch: fmt.Sprint(uint64(r.Epoch)), Seq: fmt.Sprint(uint64(r.Seq)), StateBytes: r.StateBytes,
		Lanes: []laneResult{}, Phases: []phaseResult{},
	}
}

// phaseAt is when a phase began, 0 if it was not reached.
func (r *moveResult) phaseAt(phase string) int64 {
	for _, p := range r.Phases {
		if p.Phase == phase {
			return p.At
		}
	}
	return 0
}

// take takes what the orchestrator says of the move's end.
func (r *moveResult) take(res orchestrator.Result) {
	r.Outcome, r.Text, r.Epoch = res.Outcome.String(), strings.TrimSpace(res.Text), fmt.Sprint(uint64(res.Epoch))
	switch res.Outcome {
	case migration.OutcomeCommitted:
		r.Seq = fmt.Sprint(uint64(res.FinalSeq))
	case migration.OutcomePrepared:
		r.Text = fmt.Sprintf("%s would take it", r.To)
	case migration.OutcomeRolledBack:
		r.code = exitRolledBack
	case migration.OutcomeInDoubt:
		r.code = exitInDoubt
	default:
		r.code = exitFailed
		r.notReady = res.Outcome == migration.OutcomeRefused && res.Reason.Retriable()
		if res.Reason.Code == proto0500.CodeAlreadyMigrating {
			r.Text = "another move of it is under way, which `ferry status` shows: wait until it has ended"
		}
	}
	if r.code != exitDone {
		r.Reason = res.Reason.String()
	}
	for i, p := range res.Phases {
		end := res.Ended
		if i+1 < len(res.Phases) {
			end = res.Phases[i+1].At
		}
		r.Phases = append(r.Phases, phaseResult{p.Phase.String(), ms(end.Sub(p.At)), p.At.UnixNano()})
	}
	if len(res.Phases) > 0 {
		r.Seconds = res.Ended.Sub(res.Phases[0].At).Seconds()
	}
	r.count(res.Last.Source, res.Last.Target)
}

// count takes what source and target have counted.
func (r *moveResult) count(s, t orchestrator.Counters) {
	if n := s[proto0500.CounterStateBytes]; n > 0 {
		r.StateBytes = n
	}
	r.BytesMoved = min(t[proto0500.CounterBytesDone], r.StateBytes)
	r.BytesWire = s[proto0500.CounterBytesWire]
	r.Events = s[proto0500.CounterEventsSent]
	r.RateLimit = s[proto0500.CounterRateLimit]
	r.Encoded = encodedResult{
		s[proto0500.CounterBytesLanes], s[proto0500.CounterBytesZeros], s[proto0500.CounterBytesS2],
		s[proto0500.CounterBytesZstd], s[proto0500.CounterBytesHeld],
	}
	r.Resumes = s[proto0500.CounterResumes]
	r.Resent = resentResult{
		s[proto0500.CounterChunksResent], s[proto0500.CounterBytesResent], s[proto0500.CounterEventsResent],
	}
	for lane := range uint8(proto0500.LanesMax) {
		l := laneResult{int(lane), s[proto0500.CounterLaneBytes(lane)], s[proto0500.CounterLaneChunks(lane)]}
		if l.Chunks > 0 {
			r.Lanes = append(r.Lanes, l)
			r.Chunks += l.Chunks
		}
	}
	nanos := func(v uint64) float64 { return ms(time.Duration(v)) }
	if r.BlackoutMs = nanos(s[proto0500.CounterBlackoutNs]); r.BlackoutMs > 0 {
		r.Blackout = map[string]float64{
			"freeze":        nanos(s[proto0500.CounterFreezeNs]),
			"tail":          nanos(s[proto0500.CounterTailNs]),
			"ack":           nanos(s[proto0500.CounterAckNs]),
			"target_flush":  nanos(t[proto0500.CounterFlushNs]),
			"source_retire": nanos(s[proto0500.CounterRetireNs]),
			"activate":      nanos(s[proto0500.CounterActivateNs]),
			"target_live":   nanos(t[proto0500.CounterLiveNs]),
		}
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// write is for people; what went wrong is the command's error instead.
func (r *moveResult) write(w io.Writer) error {
	if r.code != exitDone {
		return nil
	}
	_, err := fmt.Fprintln(escaped{w}, r.sentence())
	return err
}

// sentence says how the move ended.
func (r *moveResult) sentence() string {
	switch {
	case r.code == exitRolledBack:
		return fmt.Sprintf("%s was not moved and serves on at %s: %s", r.Daemon, r.From, r.Text)
	case r.code == exitInDoubt:
		return fmt.Sprintf("it cannot be told yet whether %s is at %s or %s: %s; `ferry status` shows what the nodes say, and the same command again goes on from there",
			r.Daemon, r.From, r.To, r.Text)
	case r.Outcome != migration.OutcomeCommitted.String():
		return fmt.Sprintf("%s: %s: %s", r.Daemon, r.Outcome, r.Text)
	}
	text := fmt.Sprintf("%s moved from %s to %s in epoch %s, at event %s", r.Daemon, r.From, r.To, r.Epoch, r.Seq)
	if r.Chunks == 0 { // taken up near its end: nobody has counted for us
		return text
	}
	return text + fmt.Sprintf(": %s in %s over %s, %s beside them, %.1f s, blackout %.1f ms", size(r.BytesMoved),
		plural(r.Chunks, "chunk"), plural(len(r.Lanes), "lane"), plural(r.Events, "event"), r.Seconds, r.BlackoutMs)
}

func plural[N int | uint64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// exit is the command's error: its line on stderr and exit code.
func (r *moveResult) exit() error {
	if r.code == exitDone {
		return nil
	}
	return &exitError{code: r.code, err: errors.New(r.sentence())}
}
