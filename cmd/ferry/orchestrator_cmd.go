package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"ferry/cluster"
	"ferry/identity"
	"ferry/journal/boltjournal"
	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
)

type orchestratorOptions struct {
	cluster string
	name    string
	timeout time.Duration
	tied    bool
	verbose bool
}

func newOrchestratorCmd() *cobra.Command {
	var opts orchestratorOptions
	cmd := &cobra.Command{
		Use:   "orchestrator --cluster FILE --name NAME",
		Short: "Run an orchestrator, which takes moves and settles them",
		Long: `Run an orchestrator under NAME's key. A ` + "`ferry migrate --as NAME`" + ` on the same machine hands its move over to it, through
a socket in NAME's data directory, and shows the progress: the move goes on when that command is killed, and Ctrl-C there
cancels it here.

At its start, and whenever a move ends in doubt, it settles what its journals have open, until source and target say how
it ended. Nothing rests on it: without it, they end a move between themselves.

Ctrl-C or SIGTERM cancels the moves under way that can still be cancelled, and ends. Those that have gone too far for
that are taken up at the next start.`,
		Example: `  ferry orchestrator --cluster cluster.toml --name o
  ferry migrate --cluster cluster.toml --as o --daemon orders --to b`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	clusterFlag(flags, &opts.cluster)
	flags.StringVar(&opts.name, "name", "", "which `NODE` of the cluster orchestrates")
	flags.DurationVar(&opts.timeout, "timeout", 30*time.Second, "give up a phase of settling that makes no progress for so long; a move brings its own")
	flags.BoolVarP(&opts.verbose, "verbose", "v", false, "log everything")
	flags.BoolVar(&opts.tied, "until-stdin-ends", false, "end when stdin does")
	flags.Lookup("until-stdin-ends").Hidden = true
	require(cmd, "name")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if opts.timeout <= 0 {
			return usagef("--timeout must be above 0")
		}
		ctx, stop := withSignals(cmd.Context())
		defer stop()
		if opts.tied {
			ctx = untilEnd(ctx, cmd.InOrStdin())
		}
		return runOrchestrator(ctx, cmd.ErrOrStderr(), opts)
	}
	return cmd
}

const (
	// settleEvery is the pause between two attempts to settle what is in doubt.
	settleEvery = 2 * time.Second
	// cancelTimeout is how long moves have to be cancelled at the end.
	cancelTimeout = 3 * time.Second
)

// orchestrating is a running ferry orchestrator.
type orchestrating struct {
	file     *cluster.File
	me       cluster.Node
	key      *identity.Key
	o        *orchestrator.Orchestrator
	log      *slog.Logger
	ctx      context.Context // ends when no more is to be begun
	work     sync.WaitGroup  // requests and settling
	mu       sync.Mutex
	claims   map[proto0500.Origin]*claim
	settling map[proto0500.Origin]bool // somebody goes on until it is settled
}

// claim is held by who is at a daemon's moves.
type claim struct {
	settling bool // of an earlier move: it ends soon
	done     chan struct{}
}

func runOrchestrator(ctx context.Context, stderr io.Writer, opts orchestratorOptions) error {
	file, me, err := loadCluster(opts.cluster, opts.name)
	if err != nil {
		return err
	}
	if !me.Orchestrator {
		return fmt.Errorf("node %s may not orchestrate: %s says orchestrator = false", me.Name, file.Path())
	}
	key, err := file.Key(me.Name)
	if err != nil {
		return err
	}
	log := chaosFor(me.Name).log(newLog(stderr, opts.verbose))
	if err := os.MkdirAll(file.DataDir(me.Name), 0o700); err != nil {
		return err
	}
	// One orchestrator of a name at a time. The socket cannot say that: a killed
	// one leaves it behind.
	lock, err := boltjournal.Open(filepath.Join(file.DataDir(me.Name), "orchestrator.lock"), boltjournal.Options{})
	if errors.Is(err, boltjournal.ErrLocked) {
		return fmt.Errorf("orchestrator %s runs already, in another process", me.Name)
	}
	if err != nil {
		return err
	}
	defer closeJournal(log, lock)
	js, locked, err := openMoves(file, me.Name)
	if err != nil {
		return err
	}
	defer closeJournal(log, js)
	if len(locked) > 0 {
		return fmt.Errorf("%s is moving %d daemons in other processes: wait for them, or end them", me.Name, len(locked))
	}
	a, err := newDriver(file, key, js, opts.timeout, log)
	if err != nil {
		return err
	}
	defer a.close()
	s := &orchestrating{
		file: file, me: me, key: key, o: a.Orchestrator, log: log, ctx: ctx,
		claims: make(map[proto0500.Origin]*claim), settling: make(map[proto0500.Origin]bool),
	}
	return s.run(ctx)
}

func (s *orchestrating) run(ctx context.Context) error {
	path := socketPath(s.file, s.me.Name)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("%w (a socket's path has at most about 100 bytes: this has %d)", err, len(path))
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(err, listener.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	open, err := s.o.Open()
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	for _, rec := range open {
		s.settle(rec.Origin)
	}
	s.log.Info("orchestrator is up", "name", s.me.Name, "id", s.me.ID(), "open_moves", len(open), "pid", os.Getpid())
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			s.log.Info("orchestrator is ending", "cause", context.Cause(ctx))
			if conn != nil {
				_ = conn.Close()
			}
			return s.finish()
		}
		if err != nil {
			_ = listener.Close()
			return err
		}
		s.work.Go(func() { s.serve(conn) })
	}
}

// finish waits until the moves have been cancelled, and no longer than that may
// take.
func (s *orchestrating) finish() error {
	done := make(chan struct{})
	go func() { s.work.Wait(); close(done) }()
	over := time.NewTimer(cancelTimeout)
	defer over.Stop()
	select {
	case <-done:
		return nil
	case <-over.C:
	}
	return errors.New("a move can neither be cancelled nor ended now: it is taken up at the next start, or source and target end it by themselves")
}

// settle goes on until the daemon's open moves have ended.
func (s *orchestrating) settle(origin proto0500.Origin) {
	s.mu.Lock()
	already := s.settling[origin]
	s.settling[origin] = true
	s.mu.Unlock()
	if already {
		return
	}
	s.work.Go(func() {
		again := time.NewTimer(0)
		defer again.Stop()
		for {
			select {
			case <-again.C:
			case <-s.ctx.Done():
				return
			}
			if s.settleOnce(origin) {
				return
			}
			again.Reset(settleEvery)
		}
	})
}

// settleOnce takes up the daemon's open moves; done: none is left, and none will
// be taken up until settle is called again.
func (s *orchestrating) settleOnce(origin proto0500.Origin) (done bool) {
	if _, err := s.claim(s.ctx, origin, true); err != nil {
		return false // a move has it, which settles what is open first
	}
	defer s.release(origin)
	open, err := s.openOf(origin)
	if err != nil {
		s.log.Error("journal", "err", err)
		return false
	}
	m := &mover{file: s.file, me: s.me, log: s.log, stderr: io.Discard}
	left := 0
	for _, rec := range open {
		name := fmt.Sprintf("%016x", uint64(origin))
		res, err := settleOne(s.ctx, m, s.o, rec, name)
		if err != nil {
			return false
		}
		s.log.Info("earlier move", "daemon", name, "from", res.From, "to", res.To, "epoch", res.Epoch, "outcome", res.Outcome, "text", res.Text)
		if res.code == exitInDoubt {
			left++
		}
	}
	if left > 0 {
		return false
	}
	s.mu.Lock()
	delete(s.settling, origin)
	s.mu.Unlock()
	return true
}

func (s *orchestrating) openOf(origin proto0500.Origin) (open []migration.MoveRecord, err error) {
	all, err := s.o.Open()
	for _, rec := range all {
		if rec.Origin == origin {
			open = append(open, rec)
		}
	}
	return open, err
}

// claim waits for who settles earlier moves of the daemon, and is ErrBusy where a
// move of it is under way.
func (s *orchestrating) claim(ctx context.Context, origin proto0500.Origin, settling bool) (waited bool, err error) {
	for ; ; waited = true {
		s.mu.Lock()
		held := s.claims[origin]
		if held == nil {
			s.claims[origin] = &claim{settling: settling, done: make(chan struct{})}
			s.mu.Unlock()
			return waited, nil
		}
		s.mu.Unlock()
		if !held.settling || settling {
			return waited, orchestrator.ErrBusy
		}
		select {
		case <-held.done:
		case <-ctx.Done():
			return waited, context.Cause(ctx)
		}
	}
}

func (s *orchestrating) release(origin proto0500.Origin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.claims[origin].done)
	delete(s.claims, origin)
}

// serve takes one client's request. A client that is lost is no reason to end
// its move.
func (s *orchestrating) serve(conn net.Conn) {
	var reader sync.WaitGroup
	defer reader.Wait()
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, 64<<10)
	_ = conn.SetReadDeadline(time.Now().Add(handOverPatience))
	out := &lineWriter{conn: conn}
	var req handOverRequest
	if !lines.Scan() {
		return
	}
	if err := json.Unmarshal(lines.Bytes(), &req); err != nil || req.Version != handOverVersion || req.Timeout <= 0 {
		out.write(handOverLine{End: true, Code: exitFailed, Error: "the orchestrator that runs here is another version of ferry: restart it"})
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	reader.Go(func() {
		for lines.Scan() {
			var c handOverCancel
			if json.Unmarshal(lines.Bytes(), &c) == nil && c.Cancel {
				cancel()
			}
		}
	})
	if req.Resume {
		s.resumed(ctx, req, out)
		return
	}
	s.log.Info("move taken", "daemon", req.Daemon, "to", req.To)
	res, err := s.move(ctx, req, out)
	if err != nil {
		s.log.Info("move not made", "daemon", req.Daemon, "to", req.To, "err", err)
		code, text := exitFailed, oneLine(err.Error())
		if e, ok := errors.AsType[*exitError](err); ok {
			code = e.code
		}
		switch {
		case errors.Is(err, orchestrator.ErrClosed):
			code, text = exitInDoubt, "the orchestrator was stopped in the move: it takes it up again when it is started"
		case ctx.Err() != nil && errors.Is(err, ctx.Err()):
			text = "interrupted before anything was begun"
		}
		out.write(handOverLine{End: true, Code: code, Error: text})
		return
	}
	s.log.Info("move ended", "daemon", req.Daemon, "to", req.To, "outcome", res.Outcome, "epoch", res.Epoch)
	out.write(handOverLine{Result: &res, Code: res.code, End: true})
}

// move makes a move for a client.
func (s *orchestrating) move(ctx context.Context, req handOverRequest, out *lineWriter) (res moveResult, err error) {
	m := &mover{
		opts: migrateOptions{daemon: req.Daemon, to: req.To, dryRun: req.DryRun, timeout: req.Timeout, limit: req.Limit, wait: req.Wait},
		file: s.file, me: s.me, key: s.key, stderr: noticeWriter{out}, log: s.log,
		bar: func(from, to string) moveBar { return remoteBar{out, from, to} },
	}
	if m.to, err = s.file.Node(req.To); err != nil {
		return res, err
	}
	f, err := findDaemon(ctx, s.file, s.o, req.Daemon)
	if err != nil {
		return res, err
	}
	origin := f.report.DaemonOrigin
	waited, err := s.claim(ctx, origin, false)
	if err != nil {
		if errors.Is(err, orchestrator.ErrBusy) {
			err = fmt.Errorf("%s is moving daemon %q already: wait for it, or end it", s.me.Name, req.Daemon)
		}
		return res, err
	}
	if waited { // it may have moved meanwhile
		f, err = findDaemon(ctx, s.file, s.o, req.Daemon)
	}
	if err == nil {
		res, err = m.drive(ctx, s.o, f)
	}
	s.release(origin)
	if res.code == exitInDoubt {
		s.settle(origin)
	}
	return res, err
}

// resumed waits until what is open now has ended, and tells of each.
func (s *orchestrating) resumed(ctx context.Context, req handOverRequest, out *lineWriter) {
	ctx, cancel := context.WithTimeout(ctx, req.Timeout)
	defer cancel()
	end := handOverLine{End: true}
	begun, err := s.o.Open()
	if len(begun) == 0 && err == nil {
		out.write(handOverLine{Notice: fmt.Sprintf("no move of %s is open", s.me.Name)})
	}
	m := &mover{file: s.file, me: s.me}
	names := daemonNames(nil)
	if len(begun) > 0 {
		names = namesOfDaemons(askAll(ctx, s.file, s.o))
	}
	tell := func(rec migration.MoveRecord) {
		res := newMoveResult(names.of(rec.Origin), m.node(rec.Source), m.node(rec.Target), proto0500.Report{DaemonOrigin: rec.Origin, Epoch: rec.Epoch})
		if now, err := s.o.Recorded(rec); err == nil {
			rec = now
		}
		res.Outcome = rec.Outcome.String()
		if rec.Outcome == migration.MoveOpen {
			res.Outcome, res.Text = migration.OutcomeInDoubt.String(), "it is being settled"
		}
		out.write(handOverLine{Result: &res})
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for err == nil && len(begun) > 0 {
		var still []migration.MoveRecord
		still, err = s.o.Open()
		begun = deleteEnded(begun, still, tell)
		select {
		case <-tick.C:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil && ctx.Err() == nil {
		end.Error, end.Code = err.Error(), exitFailed
	}
	for _, rec := range begun {
		tell(rec)
	}
	end.Left = len(begun)
	out.write(end)
}

// deleteEnded takes out of list what open does not have any more.
func deleteEnded(list, open []migration.MoveRecord, ended func(migration.MoveRecord)) (left []migration.MoveRecord) {
	for _, rec := range list {
		still := false
		for _, o := range open {
			still = still || o == rec
		}
		if still {
			left = append(left, rec)
		} else {
			ended(rec)
		}
	}
	return left
}
