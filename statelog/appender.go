package statelog

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/internal/loglimit"
	"github.com/gracchus-mq/gracchus/protocol/record"
)

// Write is what one step of a state machine has for the log.
type Write interface {
	// Size bounds from above what the write takes in a batch, in bytes.
	Size() int
	// Kind is what writes have in common that share a batch.
	Kind() Kind
	// Written is called once, without locks, in a callback of the log perhaps: nothing
	// may be appended there. The write is in a batch at base, or has failed.
	Written(base int64, err error)
}

// Kind is what a batch has for all of its writes.
type Kind struct {
	Acks       int16 // that they wait for
	ProducerID int64 // in whose transaction they are; record.NoProducerID of those in none
	Epoch      int16 // of that producer
}

// AppenderConfig is what an Appender needs to know. All is required.
type AppenderConfig[W Write] struct {
	Log       Log
	Topic     string // for messages
	Partition int32
	Epoch     int32 // in which leadership began
	// Encode makes a batch of writes, of at most maxBytes if it can. One call is made at a
	// time.
	Encode func(writes []W, maxBytes int) (record.Batch, error)
	// Timeout is how long an acknowledgement is waited for. What comes later is ignored.
	Timeout  time.Duration
	Logger   *slog.Logger
	Refusals *loglimit.Limit // lines about what the log has refused
	Spawn    func(func())    // runs a function in a goroutine
}

// Appender writes to one partition, in the order in which writes come. One batch is
// under way at a time, until it is acknowledged or its time is up, and all writes that
// come meanwhile share the next.
//
// Concurrency: Enqueue is called with the lock of a state machine held, so that the log
// has its records in the order of its steps, and mu is taken under it. Nothing is called
// with mu held, but goroutines are started. Whoever finds the appender idle calls Run.
type Appender[W Write] struct {
	AppenderConfig[W]

	mu     sync.Mutex
	queue  []W
	busy   bool      // Run is under way, or due
	batch  *batch[W] // what is under way
	spare  []W
	closed bool
}

// batch is what was appended together.
type batch[W Write] struct {
	writes []W
	sent   bool        // all of writes is encoded, and on its way to the log
	timer  *time.Timer // of the acknowledgement; nil before it is waited for
}

// NewAppender returns an appender that has nothing to write.
func NewAppender[W Write](cfg AppenderConfig[W]) *Appender[W] {
	return &Appender[W]{AppenderConfig: cfg}
}

// Enqueue takes writes. The caller has to call Run, without locks, if due says so, and
// to fail the writes itself, with kerr.NotCoordinator, if the appender is closed. In the
// background another goroutine calls Run.
func (a *Appender[W]) Enqueue(background bool, writes ...W) (due, closed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false, true
	}
	a.queue = append(a.queue, writes...)
	idle := !a.busy
	a.busy = true
	if idle && background {
		a.Spawn(a.Run)
		return false, false
	}
	return idle, false
}

// Run appends the next batch.
func (a *Appender[W]) Run() {
	limit := a.Log.MaxBatchBytes(a.Partition)
	b := a.take(limit)
	if b == nil {
		return
	}
	acks := b.writes[0].Kind().Acks
	records, err := a.Encode(b.writes, limit)
	if err == nil && !a.send(b) {
		err = kerr.NotCoordinator
	}
	if err != nil {
		a.finish(b, -1, err)
		return
	}
	a.Log.Append(a.Partition, a.Epoch, records, acks, func(base int64, err error) { a.finish(b, base, err) })
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.batch == b {
		b.timer = time.AfterFunc(a.Timeout, func() {
			a.finish(b, -1, fmt.Errorf("append to partition %d of %s: not acknowledged within %v: %w", a.Partition, a.Topic, a.Timeout, kerr.RequestTimedOut))
		})
	}
}

// take takes what goes into the next batch, of at most limit bytes: as many writes of one
// kind as it may hold.
func (a *Appender[W]) take(limit int) *batch[W] {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) == 0 { // closed meanwhile
		a.busy = false
		return nil
	}
	kind := a.queue[0].Kind()
	size := record.HeaderSize + a.queue[0].Size()
	n := 1
	for ; n < len(a.queue) && a.queue[n].Kind() == kind; n++ {
		if size += a.queue[n].Size(); size > limit {
			break
		}
	}
	b := &batch[W]{}
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
func (a *Appender[W]) send(b *batch[W]) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	b.sent = !a.closed
	return b.sent
}

// finish ends a batch, unless it has ended: writes have one end.
func (a *Appender[W]) finish(b *batch[W], base int64, err error) {
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
		a.Spawn(a.Run) // this may be the goroutine that moves the high watermark
	}
	a.mu.Unlock()
	if err != nil && a.Refusals.Say() {
		a.Logger.Warn("a batch of a coordinator was not written", "topic", a.Topic, "partition", a.Partition, "writes", len(b.writes), "err", err)
	}
	for i := range b.writes {
		b.writes[i].Written(base, err)
	}
	a.reuse(b.writes)
}

func (a *Appender[W]) reuse(writes []W) {
	clear(writes)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.spare == nil && cap(writes) <= 1<<10 {
		a.spare = writes[:0]
	}
}

// Close ends the appender and fails all that is on its way with kerr.NotCoordinator.
func (a *Appender[W]) Close() {
	a.mu.Lock()
	a.closed = true
	ended := a.queue
	a.queue = nil
	if b := a.batch; b != nil && b.sent { // else Run is about to see that it is closed
		a.batch = nil
		ended = append(b.writes[:len(b.writes):len(b.writes)], ended...)
		if b.timer != nil {
			b.timer.Stop()
		}
	}
	a.mu.Unlock()
	for i := range ended {
		ended[i].Written(-1, kerr.NotCoordinator)
	}
}
