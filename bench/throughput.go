package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// throughputConfig: how fast a state comes over, beside what else could carry it.
type throughputConfig struct {
	Bytes          int64 `json:"bytes"`
	Rounds         int   `json:"rounds"`
	RawConnections int   `json:"raw_connections"` // as many as ferry has for lanes on loopback
}

func newThroughput(quick bool) runner {
	if quick {
		return throughputConfig{Bytes: 96 << 20, Rounds: 3, RawConnections: rawConnections}
	}
	return throughputConfig{Bytes: 512 << 20, Rounds: 9, RawConnections: rawConnections}
}

// rawConnections is how many connections ferry's lanes begin with, which on loopback are as many as gain anything.
const rawConnections = 4

func (c throughputConfig) run(ctx context.Context, out *Result, log *progress) (err error) {
	dirs, err := newDirs()
	if err != nil {
		return err
	}
	var stops stops
	defer func() { err = errors.Join(err, stops.all(), dirs.remove()) }()
	add := func(role, from, to string) (*contender, error) {
		con, err := startContender(ctx, contenderConfig{role: role, from: from, to: to, connections: c.RawConnections})
		stops.add(con.stop)
		return con, err
	}
	move := func(base string) (*mover, error) {
		w, err := startWorld(ctx, worldConfig{dir: base})
		stops.add(w.stop)
		return &mover{w: w}, err
	}
	raw, err1 := add("raw", "", "")
	plain, err2 := add("quic", "", "")
	tcp, err3 := add("tcp", dirs.from, dirs.to)
	tcpMemory, err4 := add("tcp", "", "")
	onTmpfs, err5 := move(dirs.tmpfs)
	onDisk, err6 := move("")
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return err
	}
	random, like := stateSpec{Bytes: c.Bytes}, stateSpec{Bytes: c.Bytes, Log: true}
	carriers := []carrier{
		{"ferry", random, onTmpfs.once},
		{"raw", random, raw.once},
		{"plain", random, plain.once},
		{"tcp", random, dirs.filed(tcp.once)},
		{"tcp-memory", random, tcpMemory.once},
		{"ferry-disk", random, onDisk.once},
		{"ferry-log", like, onTmpfs.once},
		{"tcp-log", like, dirs.filed(tcp.once)},
	}
	if why := rsyncMissing(); why != "" {
		out.Notes = append(out.Notes, "rsync over ssh is skipped: "+why)
	} else {
		carriers = append(carriers, carrier{"rsync", random, dirs.filed(dirs.rsync)})
	}
	samples, err := interleave(ctx, carriers, c.Rounds, log)
	if err != nil {
		return err
	}
	c.report(out, samples)
	return nil
}

func (c throughputConfig) report(out *Result, samples map[string][]Sample) {
	rate := func(name string) []float64 { return each(samples[name], Sample.rate) }
	cpu := func(name string) []float64 { return each(samples[name], Sample.cpuPerGiB) }
	ratio := func(name string, bound *Bound, of, to string) {
		out.Figures = append(out.Figures, figure(name, "×", bound, ratios(rate(of), rate(to))))
	}
	ratio("ferry, file to file on tmpfs / raw quic-go, same packet conn and connections, memory to memory", atLeast(0.85, 0.97), "ferry", "raw")
	ratio("ferry on disk, synced / the same raw quic-go", nil, "ferry-disk", "raw")
	ratio("ferry / plain quic-go: one connection, one stream, defaults", atLeast(1.4, 2), "ferry", "plain")
	out.Figures = append(out.Figures,
		figure("CPU per GiB: ferry / plain quic-go", "×", atMost(0.75), ratios(cpu("ferry"), cpu("plain"))))
	ratio("ferry / TLS 1.3 over TCP, file to file, digests on both sides", atLeast(0.40, 0.5), "ferry", "tcp")
	ratio("ferry / TLS 1.3 over TCP, memory to memory, digests on both sides", nil, "ferry", "tcp-memory")
	ratio("ferry / TLS 1.3 over TCP, a state like a log, which TCP sends as it is", atLeast(0.8, 0), "ferry-log", "tcp-log")
	if len(samples["rsync"]) > 0 {
		ratio("ferry / rsync over ssh, file to file", nil, "ferry", "rsync")
	}
	for _, cr := range []struct{ name, what string }{
		{"ferry", "ferry, tmpfs"}, {"ferry-disk", "ferry, disk"}, {"ferry-log", "ferry, tmpfs, a state like a log"},
		{"raw", "raw quic-go"}, {"plain", "plain quic-go"}, {"tcp", "TLS over TCP, tmpfs"}, {"tcp-memory", "TLS over TCP, memory"},
		{"tcp-log", "TLS over TCP, tmpfs, a state like a log"}, {"rsync", "rsync over ssh, tmpfs"},
	} {
		if len(samples[cr.name]) > 0 {
			out.Figures = append(out.Figures, figure("throughput: "+cr.what, "MB/s", nil, rate(cr.name)),
				figure("CPU, both processes: "+cr.what, "s/GiB", nil, cpu(cr.name)))
		}
	}
}

// dirs are where the contenders' files are.
type dirs struct{ tmpfs, base, from, to string }

func newDirs() (d dirs, err error) {
	d.tmpfs = tmpfs()
	if d.base, err = os.MkdirTemp(d.tmpfs, "ferry-bench-"); err != nil {
		return d, err
	}
	d.from, d.to = filepath.Join(d.base, "from"), filepath.Join(d.base, "to")
	return d, errors.Join(os.Mkdir(d.from, 0o700), os.Mkdir(d.to, 0o700))
}

func (d dirs) remove() error { return os.RemoveAll(d.base) }

// filed writes the state to its file before it is sent, and takes both away after it.
func (d dirs) filed(once func(context.Context, stateSpec) (Sample, error)) func(context.Context, stateSpec) (Sample, error) {
	return func(ctx context.Context, state stateSpec) (Sample, error) {
		from, to := filepath.Join(d.from, stateName), filepath.Join(d.to, stateName)
		if err := state.write(from); err != nil {
			return Sample{}, err
		}
		s, err := once(ctx, state)
		return s, errors.Join(err, os.Truncate(from, 0), os.Truncate(to, 0))
	}
}

// rsyncMissing says why rsync cannot be run over ssh to this machine, or "".
func rsyncMissing() string {
	for _, tool := range []string{"rsync", "ssh"} {
		if _, err := exec.LookPath(tool); err != nil {
			return tool + " is not installed"
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := exec.CommandContext(ctx, "ssh", "-oBatchMode=yes", "-oStrictHostKeyChecking=yes", "localhost", "true").Run(); err != nil {
		return "ssh localhost does not let us in without a question"
	}
	return ""
}

// rsync sends the whole file, whatever is there.
func (d dirs) rsync(ctx context.Context, state stateSpec) (Sample, error) {
	began := time.Now()
	cmd := exec.CommandContext(ctx, "rsync", "--whole-file", "--inplace", "-e", "ssh -oBatchMode=yes",
		filepath.Join(d.from, stateName), "localhost:"+d.to+"/")
	if b, err := cmd.CombinedOutput(); err != nil {
		return Sample{}, fmt.Errorf("rsync: %w: %s", err, b)
	}
	// The far end's CPU time is sshd's, and not known here.
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return Sample{Bytes: state.Bytes, Seconds: time.Since(began).Seconds(), CPUSeconds: used.Seconds()}, nil
}
