package daemon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"ferry/proto0500"
)

// boltLog keeps the events of a daemon that has no durable state of its own:
// a checkpoint (a file beside it) as of its base, and every event after it.
//
//	events  seq u64 big endian → link(32), received_at u64, payload
//	base    "head" → seq u64, hash u64, link(32), all little endian
//
// Every transaction is synced, unless relaxed: an event is durable when append
// returns. Events through the base may still be there; they count no more.
type boltLog struct {
	db   *bbolt.DB
	base atomic.Pointer[Head]
}

var (
	bucketEvents = []byte("events")
	bucketBase   = []byte("base")
	keyHead      = []byte("head")
)

const (
	headBytes     = 8 + 8 + 32
	eventOverhead = 32 + 8
	trimMin       = 16
)

// openBoltLog opens the log at path, or makes one that begins at base.
func openBoltLog(path string, base Head) (*boltLog, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:        time.Second,
		NoFreelistSync: true,
		FreelistType:   bbolt.FreelistMapType,
	})
	if err != nil {
		return nil, fmt.Errorf("daemon: event log %s: %w", path, err)
	}
	l := &boltLog{db: db}
	err = db.Update(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(bucketBase); b != nil {
			base, err := decodeHead(b.Get(keyHead))
			l.base.Store(&base)
			return err
		}
		if _, err := tx.CreateBucket(bucketEvents); err != nil {
			return err
		}
		b, err := tx.CreateBucket(bucketBase)
		if err != nil {
			return err
		}
		l.base.Store(&base)
		return b.Put(keyHead, encodeHead(base))
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("daemon: event log %s: %w", path, err), db.Close())
	}
	return l, nil
}

func (l *boltLog) append(events []Event) error {
	return l.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketEvents)
		b.FillPercent = 1 // the keys only grow
		for _, e := range events {
			v := make([]byte, 0, eventOverhead+len(e.Payload))
			v = e.Link.Append(v)
			v = binary.LittleEndian.AppendUint64(v, e.ReceivedAt)
			v = append(v, e.Payload...)
			if err := b.Put(seqKey(e.Seq), v); err != nil {
				return err
			}
		}
		return trim(b, l.base.Load().Seq, 2*len(events)+trimMin)
	})
}

// trim deletes at most n of the events through seq, so that a checkpoint need
// not delete all of them in the one transaction that a writer would wait for.
func trim(b *bbolt.Bucket, seq proto0500.Seq, n int) error {
	c := b.Cursor()
	for k, _ := c.First(); n > 0 && k != nil && binary.BigEndian.Uint64(k) <= uint64(seq); k, _ = c.First() {
		if err := c.Delete(); err != nil {
			return err
		}
		n--
	}
	return nil
}

func (l *boltLog) read(from proto0500.Seq, bytesMax int) (events []Event, err error) {
	err = l.db.View(func(tx *bbolt.Tx) error {
		if base := l.base.Load(); from <= base.Seq {
			return &trimmedError{from: from, first: base.Seq + 1}
		}
		bytes := 0
		c := tx.Bucket(bucketEvents).Cursor()
		for k, v := c.Seek(seqKey(from)); k != nil; k, v = c.Next() {
			e, err := decodeEvent(k, v)
			if err != nil {
				return err
			}
			// A hole would be a log that was cut behind a reader's back.
			if next := from + proto0500.Seq(len(events)); e.Seq != next {
				return &trimmedError{from: next, first: e.Seq}
			}
			if bytes += len(e.Payload); bytes > bytesMax && len(events) > 0 {
				return nil
			}
			events = append(events, e)
		}
		return nil
	})
	return events, err
}

// rebase makes base the log's beginning: a checkpoint has the events through it,
// which later appends delete. The caller calls it between the reads of a move.
func (l *boltLog) rebase(base Head) error {
	err := l.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketBase).Put(keyHead, encodeHead(base))
	})
	if err == nil {
		l.base.Store(&base)
	}
	return err
}

// bytes is about how much of the log's file is in use.
func (l *boltLog) bytes() (n int64) {
	_ = l.db.View(func(tx *bbolt.Tx) error { n = tx.Size(); return nil })
	return n - int64(l.db.Stats().FreeAlloc)
}

// relax lets append return before its events are durable, until the next sync.
func (l *boltLog) relax() { l.db.NoSync = true }

func (l *boltLog) sync() error {
	if !l.db.NoSync {
		return nil
	}
	if err := l.db.Sync(); err != nil {
		return err
	}
	l.db.NoSync = false
	return nil
}
func (l *boltLog) close() error { return l.db.Close() }

func seqKey(s proto0500.Seq) []byte { return binary.BigEndian.AppendUint64(nil, uint64(s)) }

func decodeEvent(k, v []byte) (Event, error) {
	if len(k) != 8 || len(v) < eventOverhead {
		return Event{}, fmt.Errorf("daemon: event log entry of %d+%d bytes is damaged", len(k), len(v))
	}
	e := Event{
		Seq:        proto0500.Seq(binary.BigEndian.Uint64(k)),
		Link:       proto0500.LinkFrom(v),
		ReceivedAt: binary.LittleEndian.Uint64(v[32:]),
		Payload:    slices.Clone(v[eventOverhead:]),
	}
	if e.Link.Sequence != e.Seq {
		return Event{}, fmt.Errorf("daemon: event log entry %d carries the link of %d", e.Seq, e.Link.Sequence)
	}
	e.Hash = e.Link.Hash(e.Payload)
	return e, nil
}

func encodeHead(h Head) []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, headBytes), uint64(h.Seq))
	b = binary.LittleEndian.AppendUint64(b, h.Hash)
	return h.Link.Append(b)
}

func decodeHead(b []byte) (Head, error) {
	if len(b) != headBytes {
		return Head{}, fmt.Errorf("daemon: head of %d bytes, want %d", len(b), headBytes)
	}
	return Head{
		Seq:  proto0500.Seq(binary.LittleEndian.Uint64(b)),
		Hash: binary.LittleEndian.Uint64(b[8:]),
		Link: proto0500.LinkFrom(b[16:]),
	}, nil
}
