package journal

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
)

// ErrAfterWrite, in what a FailPut hook returns, makes the Put fail after the
// record was written instead of before.
var ErrAfterWrite = errors.New("journal: failed after the write")

// Memory is a journal for tests and simulations. It can be crashed, at a moment
// of the test's choice, and made to fail.
//
// A Put normally is durable at once. Between HoldSync and Sync it is only
// written: Get sees it, and a crash keeps the first n of such writes, n being
// anything from none to all, as a disk that was interrupted would.
type Memory struct {
	mu      sync.Mutex
	durable map[string][]byte // values are never changed in place
	pending []write           // in order, not yet durable; empty unless held
	held    bool
	closed  bool
	failPut func(key []byte) error
}

type write struct {
	key   string
	value []byte
}

// NewMemory makes an empty journal.
func NewMemory() *Memory { return &Memory{durable: make(map[string][]byte)} }

// Get implements Journal.
func (m *Memory) Get(key []byte) ([]byte, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	for _, w := range slices.Backward(m.pending) {
		if w.key == string(key) {
			return append([]byte{}, w.value...), nil
		}
	}
	value, ok := m.durable[string(key)]
	if !ok {
		return nil, ErrNotFound
	}
	return append([]byte{}, value...), nil
}

// Put implements Journal.
func (m *Memory) Put(key, value []byte) error {
	if err := CheckPut(key, value); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	var failure error
	if m.failPut != nil {
		failure = m.failPut(slices.Clone(key))
	}
	if failure != nil && !errors.Is(failure, ErrAfterWrite) {
		return failure
	}
	m.pending = append(m.pending, write{string(key), slices.Clone(value)})
	if !m.held {
		m.sync()
	}
	return failure
}

// Range implements Journal.
func (m *Memory) Range(prefix []byte, fn func(key, value []byte) error) error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return ErrClosed
	}
	view := survivors(m.durable, m.pending)
	m.mu.Unlock()

	for _, key := range slices.Sorted(maps.Keys(view)) {
		if !strings.HasPrefix(key, string(prefix)) {
			continue
		}
		if err := fn([]byte(key), append([]byte{}, view[key]...)); err != nil {
			return err
		}
	}
	return nil
}

// Close implements Journal. It does not sync; a closed Memory can be cloned.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// HoldSync makes the Puts that follow wait for Sync to become durable.
func (m *Memory) HoldSync() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = true
}

// Sync makes what was held durable, and ends HoldSync.
func (m *Memory) Sync() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = false
	m.sync()
}

func (m *Memory) sync() {
	for _, w := range m.pending {
		m.durable[w.key] = w.value
	}
	m.pending = nil
}

// Pending is the number of writes that a crash now could take back.
func (m *Memory) Pending() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.pending)
}

// CrashClone gives the journal that a restart would find after a crash now in
// which the first n of the Pending writes reached the disk; n is taken as the
// nearest possible number. The clone is open, holds nothing and fails nothing.
// The original goes on unchanged, closed or not.
func (m *Memory) CrashClone(n int) *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	n = max(0, min(n, len(m.pending)))
	return &Memory{durable: survivors(m.durable, m.pending[:n])}
}

// survivors is durable with the writes on top. The values are shared.
func survivors(durable map[string][]byte, writes []write) map[string][]byte {
	view := maps.Clone(durable)
	for _, w := range writes {
		view[w.key] = w.value
	}
	return view
}

// FailPut asks fn before each Put that is within the limits; an error from it is
// what Put returns. Nothing is written then, unless the error matches
// ErrAfterWrite: both are outcomes that a failed Put may have. fn is called with
// the journal locked and must not use it; nil ends the failing.
func (m *Memory) FailPut(fn func(key []byte) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failPut = fn
}

var _ Journal = (*Memory)(nil)
