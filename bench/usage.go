package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
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

// sampler keeps the peaks of this process.
type sampler struct {
	mu      sync.Mutex
	watched bool
	peak    Usage
}

// run samples until done is closed.
func (s *sampler) run(done <-chan struct{}) {
	t := time.NewTicker(sampleEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.mu.Lock()
			watched := s.watched
			s.mu.Unlock()
			if watched {
				s.sample()
			}
		case <-done:
			return
		}
	}
}

func (s *sampler) sample() {
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap)
	anon, file := resident()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peak.HeapPeak = max(s.peak.HeapPeak, heap[0].Value.Uint64())
	s.peak.AnonPeak = max(s.peak.AnonPeak, anon)
	s.peak.FilePeak = max(s.peak.FilePeak, file)
}

// reset forgets the peaks, and gives back what is free, so that what was before does not count.
func (s *sampler) reset() {
	runtime.GC()
	debug.FreeOSMemory()
	s.mu.Lock()
	s.watched, s.peak = true, Usage{}
	s.mu.Unlock()
	s.sample()
}

func (s *sampler) usage() Usage {
	s.sample()
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.peak
	u.CPUSeconds = cpuSeconds()
	return u
}

// resident is this process's resident memory that no file backs, and that which one does.
func resident() (anon, file uint64) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch {
		case err != nil:
		case key == "RssAnon":
			anon = kib << 10
		case key == "RssFile":
			file = kib << 10
		}
	}
	return anon, file
}
