package api

import (
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/replica"
)

// produceWait is a Produce response that waits for replication. All of it is
// encoded; what can still change is the error code of a partition. Whoever
// completes the last partition, or the timer, writes the codes and releases the
// reply's slot. Nobody waits for a socket.
type produceWait struct {
	codes codes

	mu         sync.Mutex
	partitions []partitionWait
	left       int // partitions without outcome
	slot       *server.Slot
	timer      *time.Timer
	released   bool
}

type partitionWait struct {
	codeAt int // where in the reply its error code stands
	code   int16
	done   bool
	cancel func() bool
}

// add waits for a partition's high watermark to reach offset. It reports false
// if there is nothing to wait for. Called by the handler, before begin.
func (w *produceWait) add(p *replica.Partition, offset int64, epoch int32, codeAt int) bool {
	w.mu.Lock()
	i := len(w.partitions)
	w.partitions = append(w.partitions, partitionWait{codeAt: codeAt})
	w.left++
	w.mu.Unlock()
	cancel, done := p.NotifyAt(offset, epoch, func(err error) { w.complete(i, err) })
	w.mu.Lock()
	defer w.mu.Unlock()
	if done {
		w.partitions = w.partitions[:i]
		w.left--
		return false
	}
	w.partitions[i].cancel = cancel
	return true
}

// begin starts the clock. The slot is released before begin returns if all
// partitions are complete by now.
func (w *produceWait) begin(slot *server.Slot, timeout time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slot = slot
	if w.left > 0 {
		w.timer = time.AfterFunc(timeout, w.expire)
		return
	}
	w.release()
}

// complete notes a partition's outcome.
func (w *produceWait) complete(i int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.released {
		return
	}
	p := &w.partitions[i]
	p.done = true
	p.code = w.codes.of(err)
	w.left--
	if w.left == 0 && w.slot != nil {
		w.release()
	}
}

// expire answers with a time-out for those that are not complete: their records
// are in the log, and may yet be replicated.
func (w *produceWait) expire() {
	var cancels []func() bool
	w.mu.Lock()
	if !w.released {
		for i := range w.partitions {
			if p := &w.partitions[i]; !p.done {
				p.code = kerr.RequestTimedOut.Code
				cancels = append(cancels, p.cancel)
			}
		}
		w.release()
	}
	w.mu.Unlock()
	for _, cancel := range cancels {
		cancel()
	}
}

// release writes the codes into the reply and lets it go. Called with mu held.
func (w *produceWait) release() {
	w.released = true
	if w.timer != nil {
		w.timer.Stop()
	}
	reply := w.slot.Reply()
	for i := range w.partitions {
		if p := &w.partitions[i]; p.code != 0 {
			putInt16(reply.Buf[p.codeAt:], p.code)
		}
	}
	w.slot.Release()
}
