package main

import (
	"bytes"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// Usage is what a process has used. Peaks are since the order "watch", sampled at sampleEvery.
type Usage struct {
	CPUSeconds float64
	HeapPeak   uint64 // bytes of objects, dead ones not yet swept included
	AnonPeak   uint64 // RssAnon: 0 where there is no /proc
	FilePeak   uint64 // RssFile
}

// sampleEvery is short enough for a move of 100 ms. It costs about 1 % of a core, and only where peaks are asked for.
const sampleEvery = 5 * time.Millisecond

// sampler keeps the peaks of this process. It allocates nothing while it samples, or the peaks would be its own.
type sampler struct {
	mu      sync.Mutex
	watched bool
	peak    Usage
	heap    [1]metrics.Sample
	status  *os.File // nil where there is no /proc
	text    [4 << 10]byte
}

// run samples until done is closed.
func (s *sampler) run(done <-chan struct{}) {
	t := time.NewTicker(sampleEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.mu.Lock()
			if s.watched {
				s.sample()
			}
			s.mu.Unlock()
		case <-done:
			return
		}
	}
}

// sample is for whoever has the lock.
func (s *sampler) sample() {
	metrics.Read(s.heap[:])
	s.peak.HeapPeak = max(s.peak.HeapPeak, s.heap[0].Value.Uint64())
	if s.status == nil {
		return
	}
	n, err := s.status.ReadAt(s.text[:], 0)
	if err != nil && err != io.EOF {
		return
	}
	s.peak.AnonPeak = max(s.peak.AnonPeak, statusKiB(s.text[:n], "RssAnon")<<10)
	s.peak.FilePeak = max(s.peak.FilePeak, statusKiB(s.text[:n], "RssFile")<<10)
}

// reset forgets the peaks, and gives back what is free, so that what was before does not count.
func (s *sampler) reset() {
	runtime.GC()
	debug.FreeOSMemory()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.watched {
		s.watched = true
		s.heap[0].Name = "/memory/classes/heap/objects:bytes"
		if f, err := os.Open("/proc/self/status"); err == nil {
			s.status = f // the process's, to its end
		}
	}
	s.peak = Usage{}
	s.sample()
}

func (s *sampler) usage() Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watched {
		s.sample()
	}
	u := s.peak
	u.CPUSeconds = cpuSeconds()
	return u
}

// statusKiB is a number of /proc/self/status, which has lines like "RssAnon:	    1234 kB"; 0 when it is not there.
func statusKiB(text []byte, key string) (kib uint64) {
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte(key))
		if !ok || len(rest) == 0 || rest[0] != ':' {
			continue
		}
		for _, c := range bytes.TrimLeft(rest[1:], " \t") {
			if c < '0' || c > '9' {
				break
			}
			kib = kib*10 + uint64(c-'0')
		}
	}
	return kib
}
