package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"ferry/identity"
	"ferry/proto0500"
)

type settleOptions struct {
	migrateOptions
	force    bool
	sentence string // --yes-i-know
}

func newSettleCmd() *cobra.Command {
	var opts settleOptions
	cmd := &cobra.Command{
		Use:   "settle --cluster FILE --as NAME --daemon X",
		Short: "End a move of daemon X that nobody drives any more",
		Long: `Ask the nodes where the moves of daemon X are, and bring each to its end as NAME, which may be any node that may
orchestrate and is neither source nor target: forward where the source has let go, else back to the source. A move that
somebody still drives is cancelled too, if it can be.

Mostly there is no need: source and target end a move between themselves. Where one of the two is down the move waits for
it, and ` + "`ferry status`" + ` says so. Bring it back: nothing is lost, however long it takes.

--force is for a node that is gone for good. It names what is risked and asks for it in words:
  the source has retired, the target is gone   the source serves again, from exactly what it gave away. If the target
                                               went live, every write that it accepted since is lost.
  the target has everything, the source is     the target serves. If the source served on after all, every write that
  gone                                         it accepted since is lost.
In both cases two nodes accept writes if the dead one ever comes back: destroy its data before it does.

Exit codes: 0 settled, or there is nothing to settle; 1 failed, or not confirmed; 2 usage; 4 in doubt: a node is needed
that does not answer.`,
		Example: `  ferry settle --cluster cluster.toml --as p --daemon orders
  ferry settle --cluster cluster.toml --as p --daemon orders --force
  ferry settle -c cluster.toml --as p --daemon orders --force --yes-i-know 'b is dead for good, and a serves orders from event 120'`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	clusterFlag(flags, &opts.cluster)
	flags.StringVar(&opts.as, "as", "", "the `NODE` that orchestrates: a third one")
	flags.StringVar(&opts.daemon, "daemon", "", "the daemon `X` whose moves are to end")
	flags.DurationVar(&opts.timeout, "timeout", resumeTimeout, "how long to wait for a node that is needed")
	flags.BoolVar(&opts.force, "force", false, "go on without a node that is gone for good")
	flags.StringVar(&opts.sentence, "yes-i-know", "", "the `SENTENCE` that --force asks for, for scripts")
	flags.BoolVarP(&opts.verbose, "verbose", "v", false, "log everything")
	asJSON := jsonFlag(flags)
	require(cmd, "as", "daemon")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case opts.timeout <= 0:
			return usagef("--timeout must be above 0")
		case opts.sentence != "" && !opts.force:
			return usagef("--yes-i-know is the answer to --force")
		}
		ctx, stop := withSignals(cmd.Context())
		defer stop()
		opts.resume = true // there is no node to move to
		m, err := newMover(cmd.ErrOrStderr(), opts.migrateOptions)
		if err != nil {
			return err
		}
		s := &settler{mover: m, opts: opts, in: cmd.InOrStdin(), out: cmd.OutOrStdout(), json: *asJSON}
		return s.run(ctx)
	}
	return cmd
}

// settler is one run of ferry settle.
type settler struct {
	*mover
	opts settleOptions
	in   io.Reader
	out  io.Writer
	json bool
	o    *asker
}

func (s *settler) run(ctx context.Context) error {
	js, err := newMoveJournals(s.file, s.me.Name)
	if err != nil {
		return err
	}
	defer closeJournal(s.log, js)
	// The source and then the target may have to be given up: each gets half.
	if s.o, err = newDriver(s.file, s.key, js, s.opts.timeout/2, s.log); err != nil {
		return err
	}
	defer s.o.close()
	found, err := s.ask(ctx)
	if err != nil {
		return err
	}
	open := found.attempts()
	if len(open) == 0 {
		return s.nothing(found)
	}
	doubt := 0
	for _, a := range open {
		if a.source == proto0500.NodeID(s.me.ID()) || a.target == proto0500.NodeID(s.me.ID()) {
			return usagef("--as %s is a side of the move: the orchestrator must be a third node", s.me.Name)
		}
		res, err := settleOne(ctx, s.mover, s.o.Orchestrator, a.record(), found.name)
		if err != nil {
			return err
		}
		if res.code != exitInDoubt {
			res.code = exitDone // rolled back is an end, too
		} else {
			doubt++
			if s.opts.force {
				continue
			}
			if now, err := s.ask(ctx); err == nil {
				for _, b := range now.attempts() {
					if text := b.doubt(); text != "" && b.epoch == a.epoch {
						res.Text = text
					}
				}
			}
		}
		if err := s.print(res); err != nil {
			return err
		}
	}
	switch {
	case doubt == 0:
		return nil
	case s.opts.force:
		return s.force(ctx)
	}
	return &exitError{code: exitInDoubt, err: fmt.Errorf(
		"in doubt: bring the node back that does not answer, and the move ends by itself; if it is gone for good, see `ferry settle --help` for --force")}
}

// ask asks the nodes about the daemon. One that no node has heard of is an error.
func (s *settler) ask(ctx context.Context) (*survey, error) {
	all := askAll(ctx, s.file, s.o)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var found *survey
	for _, sv := range surveys(s.file, all) {
		// An old record may have the name too.
		if sv.name == s.opts.daemon && (found == nil || len(found.attempts()) == 0) {
			found = sv
		}
	}
	if found == nil {
		_, err := pickOwner(all, s.opts.daemon)
		if err == nil {
			err = fmt.Errorf("no node has daemon %q", s.opts.daemon)
		}
		return nil, err
	}
	return found, nil
}

// nothing says that no node is in a move.
func (s *settler) nothing(found *survey) error {
	res := moveResult{Daemon: found.name, Origin: fmt.Sprint(uint64(found.origin)), Outcome: "nothing to settle", Lanes: []laneResult{}, Phases: []phaseResult{}}
	var down []string
	for id, err := range found.silent {
		if err != nil {
			down = append(down, s.node(id).Name)
		}
	}
	owners := found.owners()
	switch {
	case len(owners) > 1:
		return errors.New(doubts(s.file, askAllOf(found))[0].Text)
	case len(owners) == 1:
		r := found.reports[owners[0]]
		res.From, res.To, res.Epoch, res.Seq = found.node(owners[0]), found.node(owners[0]), fmt.Sprint(uint64(r.Epoch)), fmt.Sprint(uint64(r.Seq))
		res.Text = fmt.Sprintf("%s serves %s in epoch %d", found.node(owners[0]), found.name, r.Epoch)
	case len(down) > 0:
		return &exitError{code: exitInDoubt, err: fmt.Errorf("no node that answers is in a move of %s, and none serves it; %s does not answer", found.name, join(down))}
	default:
		res.Text = "no node serves it"
	}
	return s.print(res)
}

// askAllOf is what a survey was made of.
func askAllOf(s *survey) (all []answer) {
	for _, n := range s.file.Nodes {
		if r, ok := s.reports[proto0500.NodeID(n.ID())]; ok {
			all = append(all, answer{node: n, reports: []proto0500.Report{r}})
		}
	}
	return all
}

func (s *settler) print(res moveResult) error {
	if s.json {
		return printJSON(s.out, res, true)
	}
	line := res.settled()
	if res.From == res.To {
		line = fmt.Sprintf("%s: %s: %s", res.Daemon, res.Outcome, res.Text)
	}
	_, err := fmt.Fprintln(escaped{s.out}, line)
	return err
}

// forced is what a force order would do: node serves without dead.
type forced struct {
	openAttempt
	node, dead proto0500.NodeID
	why        string
	seq        proto0500.Seq
	retired    bool // node is the source
}

// possible is the force order that could end the attempt; an error says why there
// is none.
func (a openAttempt) possible() (forced, error) {
	f := forced{openAttempt: a}
	if r, ok := a.at(a.source, proto0500.StateRetired); ok {
		if f.why = a.lost(a.target); f.why == "" {
			return f, fmt.Errorf("%s answers: it ends the move without --force", a.node(a.target))
		}
		if !r.Copy {
			return f, fmt.Errorf("%s has retired and lost its copy: there is nothing to go back to", a.node(a.source))
		}
		f.node, f.dead, f.seq, f.retired = a.source, a.target, r.Seq, true
		return f, nil
	}
	if r, ok := a.at(a.target, proto0500.StateSealed); ok {
		if f.why = a.lost(a.source); f.why == "" {
			return f, fmt.Errorf("%s answers: it ends the move without --force", a.node(a.source))
		}
		f.node, f.dead, f.seq = a.target, a.source, r.Seq
		return f, nil
	}
	return f, errors.New("no node that answers has retired and kept its copy, or has everything of the daemon")
}

// sentence is what a person must say.
func (f *forced) sentence() string {
	return fmt.Sprintf("%s is dead for good, and %s serves %s from event %d", f.survey.node(f.dead), f.survey.node(f.node), f.name, f.seq)
}

// risk says what happens, and what may be lost.
func (f *forced) risk() string {
	node, dead := f.survey.node(f.node), f.survey.node(f.dead)
	role, lost := "the source of a move, has retired", fmt.Sprintf("If %s went live, every write that it accepted is lost: %s goes back to event %d.", dead, node, f.seq)
	if !f.retired {
		role, lost = "the target of a move, has everything through event "+fmt.Sprint(f.seq),
			fmt.Sprintf("If %s served on, every write that it accepted after event %d is lost.", dead, f.seq)
	}
	return fmt.Sprintf(`%s, %s and waits for %s, %s.
--force makes %s serve %s without it. What is risked:
  - %s
  - If %s ever runs again with its data, two nodes accept writes for %s, and what one of them accepted must be thrown away.
    Destroy the data of %s before it is started again. If it is only cut off, bring it back instead: nothing is lost then.
`, node, role, dead, f.why, node, f.name, lost, dead, f.name, dead)
}

// force gives the order, once a person has said the sentence.
func (s *settler) force(ctx context.Context) error {
	found, err := s.ask(ctx)
	if err != nil {
		return err
	}
	open := found.attempts()
	if len(open) == 0 {
		return s.nothing(found) // it has ended meanwhile
	}
	f, err := open[len(open)-1].possible()
	if err != nil {
		return &exitError{code: exitInDoubt, err: fmt.Errorf("--force can do nothing: %w", err)}
	}
	fmt.Fprint(escaped{s.stderr}, f.risk())
	if err := s.confirm(ctx, f.sentence()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.timeout)
	defer cancel()
	r, err := s.o.Force(ctx, identity.NodeID(f.node), identity.NodeID(f.dead), f.origin, f.epoch)
	if err != nil {
		return fmt.Errorf("the order was not carried out: %w", err)
	}
	if !authority(r) {
		return &exitError{code: exitInDoubt, err: fmt.Errorf("%s has taken the order and does not serve: it is %v in epoch %d", found.node(f.node), r.State, r.Epoch)}
	}
	res := newMoveResult(f.name, s.node(f.source), s.node(f.target), r)
	res.Epoch = fmt.Sprint(uint64(f.epoch)) // of the attempt that it ends
	res.Outcome, res.Text = "forced", fmt.Sprintf("%s serves %s in epoch %d from event %d; destroy the data of %s", found.node(f.node), f.name, r.Epoch, f.seq, found.node(f.dead))
	return s.print(res)
}

// confirm asks for a sentence.
func (s *settler) confirm(ctx context.Context, want string) error {
	got := s.opts.sentence
	if got == "" {
		fmt.Fprintf(escaped{s.stderr}, "To go on, type this sentence:\n  %s\n", want)
		line := make(chan string, 1)
		go func() { // ends with the process at the latest: a terminal has no deadline
			text, _ := bufio.NewReader(s.in).ReadString('\n')
			line <- text
		}()
		select {
		case got = <-line:
		case <-ctx.Done():
			return errors.New("interrupted: nothing was changed")
		}
	}
	if strings.Join(strings.Fields(got), " ") != want {
		return fmt.Errorf("nothing was changed: the sentence would be: %s", want)
	}
	return nil
}
