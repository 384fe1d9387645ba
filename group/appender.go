package group

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/internal/loglimit"
	"github.com/gracchus-mq/gracchus/protocol/record"
)

// appender writes to one partition of __consumer_offsets, in the order in which
// writes come. One batch is under way at a time, until it is acknowledged or its time
// is up, and all writes that come meanwhile share the next.
//
// Concurrency: enqueue is called with a group's lock held, so that the log has a
// group's records in the order of its steps, and mu is taken under it. Nothing is
// called with mu held, but goroutines are started. Whoever finds the appender idle
// calls run.
type appender struct {
	log       Log
	partition int32
	epoch     int32
	settings  *Settings
	logger    *slog.Logger
	refusals  *loglimit.Limit
	spawn     func(func()) // runs a function in a goroutine

	mu     sync.Mutex
	queue  []queued
	busy   bool   // run is under way, or due
	batch  *batch // what is under way
	spare  []queued
	closed bool

	encoder encoder // of run
}

// queued is a write, and whose it is.
type queued struct {
	of *hosted
	write
}

// batch is what was appended together.
type batch struct {
	writes []queued
	sent   bool        // all of writes is encoded, and on its way to the log
	timer  *time.Timer // of the acknowledgement; nil before it is waited for
}

// enqueue takes writes of a group. The caller has to call run, without locks, if due
// says so, and to fail the writes itself if the appender is closed. In the background
// another goroutine calls run.
func (a *appender) enqueue(h *hosted, writes []write, background bool) (due, closed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false, true
	}
	for _, w := range writes {
		a.queue = append(a.queue, queued{h, w})
	}
	idle := !a.busy
	a.busy = true
	if idle && background {
		a.spawn(a.run)
		return false, false
	}
	return idle, false
}

// run appends the next batch.
func (a *appender) run() {
	b := a.take()
	if b == nil {
		return
	}
	acks := a.settings.RequiredAcks
	if !b.writes[0].awaited() {
		acks = 0
	}
	records, err := a.encode(b)
	if err == nil && !a.send(b) {
		err = errNotCoordinator
	}
	if err != nil {
		a.finish(b, -1, err)
		return
	}
	a.log.Append(a.partition, a.epoch, records, acks, func(base int64, err error) { a.finish(b, base, err) })
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.batch == b {
		b.timer = time.AfterFunc(a.settings.CommitTimeout, func() {
			a.finish(b, -1, fmt.Errorf("append to partition %d of __consumer_offsets: not acknowledged within %v: %w", a.partition, a.settings.CommitTimeout, kerr.RequestTimedOut))
		})
	}
}

// take takes what goes into the next batch: as many writes as it may hold that are
// acknowledged in the same way.
func (a *appender) take() *batch {
	limit := a.log.MaxBatchBytes(a.partition)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) == 0 { // closed meanwhile
		a.busy = false
		return nil
	}
	awaited := a.queue[0].awaited()
	size := record.HeaderSize + a.queue[0].size()
	n := 1
	for ; n < len(a.queue) && a.queue[n].awaited() == awaited; n++ {
		if size += a.queue[n].size(); size > limit {
			break
		}
	}
	b := &batch{}
	if n == len(a.queue) {
		b.writes, a.queue, a.spare = a.queue, a.spare, nil
	} else {
		b.writes = append(b.writes, a.queue[:n]...)
		a.queue = append(a.queue[:0], a.queue[n:]...)
	}
	a.batch = b
	return b
}

// send marks a batch as sent, from when on it may end at any time. It returns false if
// the appender is closed.
func (a *appender) send(b *batch) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	b.sent = !a.closed
	return b.sent
}

// encode makes the batch, as Kafka does: it has no producer, and begins with sequence
// 0 if there are offsets. What would be too large is compressed.
func (a *appender) encode(b *batch) (record.Batch, error) {
	e := &a.encoder
	e.builder.Reset()
	e.builder.SetCodec(a.settings.Codec, record.DefaultLevel)
	sequence := record.NoSequence
	for i := range b.writes {
		w := &b.writes[i].write
		e.add(w)
		if w.commit != nil {
			sequence = 0
		}
	}
	e.builder.SetProducer(record.NoProducerID, record.NoProducerEpoch, sequence)
	if a.settings.Codec == record.None && e.builder.Size() > a.log.MaxBatchBytes(a.partition) {
		e.builder.SetCodec(record.Zstd, record.DefaultLevel)
	}
	return e.builder.Build()
}

// finish ends a batch, unless it has ended: writes have one end.
func (a *appender) finish(b *batch, base int64, err error) {
	a.mu.Lock()
	if a.batch != b {
		a.mu.Unlock()
		return
	}
	a.batch = nil
	if b.timer != nil {
		b.timer.Stop()
	}
	a.busy = len(a.queue) > 0
	if a.busy {
		a.spawn(a.run) // this may be the goroutine that moves the high watermark
	}
	a.mu.Unlock()
	if err != nil && a.refusals.Say() {
		a.logger.Warn("a batch of offsets or group metadata was not written", "partition", a.partition, "writes", len(b.writes), "err", err)
	}
	for i := range b.writes {
		b.writes[i].of.written(&b.writes[i].write, base, err)
	}
	a.reuse(b.writes)
}

func (a *appender) reuse(writes []queued) {
	clear(writes)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.spare == nil && cap(writes) <= 1<<10 {
		a.spare = writes[:0]
	}
}

// close ends the appender and fails all that is on its way.
func (a *appender) close() {
	a.mu.Lock()
	a.closed = true
	ended := a.queue
	a.queue = nil
	if b := a.batch; b != nil && b.sent { // else run is about to see that it is closed
		a.batch = nil
		ended = append(b.writes[:len(b.writes):len(b.writes)], ended...)
		if b.timer != nil {
			b.timer.Stop()
		}
	}
	a.mu.Unlock()
	for i := range ended {
		ended[i].of.written(&ended[i].write, -1, errNotCoordinator)
	}
}
