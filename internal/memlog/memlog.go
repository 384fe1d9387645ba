// Package memlog is a topic in memory, for tests of the coordinators that keep their
// state in one. It acknowledges at once, unless it is told otherwise.
package memlog

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// Log is the topic. Its fields are set before it is used.
type Log struct {
	MaxBatch int           // what MaxBatchBytes returns; 1 MiB of New
	Reads    chan struct{} // Bounds waits for it, unless it is nil
	Asked    func()        // is called, if set, when MaxBatchBytes is
	// Appended, if set, is told of every append that is not refused, before it is
	// acknowledged, and says whether the log still runs: it appends nothing else, and
	// acknowledges nothing more, if not.
	Appended func(partition int32, b record.Batch) bool

	// Doubt, if set, says why it is not sure that a partition is led here, or nil.
	Doubt func(ctx context.Context, partition int32) error

	mu         sync.Mutex
	partitions map[int32]*partition
	hold       bool
	held       []func(error)
	refuse     error
	unread     error
}

type partition struct {
	epoch   int32 // this broker leads in it; −1 if it does not
	batches []record.Batch
	end     int64
}

// New returns a topic whose partitions are empty.
func New() *Log { return &Log{MaxBatch: 1 << 20, partitions: map[int32]*partition{}} }

// partition is called with mu held.
func (l *Log) partition(n int32) *partition {
	p := l.partitions[n]
	if p == nil {
		p = &partition{epoch: -1}
		l.partitions[n] = p
	}
	return p
}

// Lead has the log take appends of an epoch, of none if it is −1.
func (l *Log) Lead(n, epoch int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partition(n).epoch = epoch
}

// Hold has appends be acknowledged only by Acknowledge, or not any more.
func (l *Log) Hold(hold bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold = hold
}

// Acknowledge ends what is held, with err, and holds on or not.
func (l *Log) Acknowledge(err error, hold bool) {
	l.mu.Lock()
	held := l.held
	l.held, l.hold = nil, hold
	l.mu.Unlock()
	for _, done := range held {
		done(err)
	}
}

// Held is how many appends are held.
func (l *Log) Held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held)
}

// Refuse has every append be refused with err, none if it is nil.
func (l *Log) Refuse(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = err
}

// Unread has every read fail with err, none if it is nil.
func (l *Log) Unread(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unread = err
}

// Put has the log have a batch, or a message of the formats before 2.
func (l *Log) Put(n int32, entry record.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.partition(n)
	p.batches, p.end = append(p.batches, entry), record.EntryEnd(entry)
}

// Batches returns what a partition has.
func (l *Log) Batches(n int32) []record.Batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.partition(n)
	return p.batches[:len(p.batches):len(p.batches)]
}

// Append is that of statelog.Log.
func (l *Log) Append(n, epoch int32, batch record.Batch, acks int16, done func(int64, error)) {
	l.mu.Lock()
	p := l.partition(n)
	err := l.refuse
	if p.epoch != epoch {
		err = kerr.NotLeaderForPartition
	}
	if err == nil && len(batch) > l.MaxBatch {
		err = kerr.MessageTooLarge
	}
	if err != nil {
		l.mu.Unlock()
		done(-1, err)
		return
	}
	base := p.end
	batch.SetBaseOffset(base)
	if l.Appended != nil && !l.Appended(n, batch) {
		l.mu.Unlock()
		return
	}
	p.batches = append(p.batches, append(record.Batch(nil), batch...))
	p.end = batch.NextOffset()
	hold := l.hold && acks != 0
	if hold {
		l.held = append(l.held, func(err error) { done(base, err) })
	}
	l.mu.Unlock()
	if !hold {
		done(base, nil)
	}
}

// NotifyCommitted is that of statelog.Log: it is held as appends are.
func (l *Log) NotifyCommitted(n, epoch int32, done func(error)) {
	l.mu.Lock()
	hold := l.hold
	if hold {
		l.held = append(l.held, done)
	}
	l.mu.Unlock()
	if !hold {
		done(nil)
	}
}

// ConfirmLeader is that of statelog.Log: it asks nobody, but Doubt.
func (l *Log) ConfirmLeader(ctx context.Context, n, epoch int32) error {
	if l.Doubt != nil {
		return l.Doubt(ctx, n)
	}
	return nil
}

// MaxBatchBytes is that of statelog.Log.
func (l *Log) MaxBatchBytes(int32) int {
	if l.Asked != nil {
		l.Asked()
	}
	return l.MaxBatch
}

// Bounds is that of statelog.Log.
func (l *Log) Bounds(n int32) (int64, int64, error) {
	if l.Reads != nil {
		<-l.Reads
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return 0, l.partition(n).end, l.unread
}

// Read is that of statelog.Log.
func (l *Log) Read(dst []byte, n int32, from, end int64, maxBytes int32) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	began := len(dst)
	for _, b := range l.partition(n).batches {
		if record.EntryEnd(b) <= from || b.BaseOffset() >= end {
			continue
		}
		if len(dst) > began && len(dst)+len(b) > began+int(maxBytes) {
			break
		}
		dst = append(dst, b...)
	}
	return dst, l.unread
}
