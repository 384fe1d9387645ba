package txn

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/gracchus-mq/gracchus/internal/loglimit"
	"github.com/gracchus-mq/gracchus/protocol"
)

// markerRetry is when markers are tried again that could not be written.
const markerRetry = 100 * time.Millisecond

// Sender is the part of peer.Pool that is needed here.
type Sender interface {
	Send(ctx context.Context, to peer.Target, req kmsg.Request) (kmsg.Response, error)
}

// markers has the ends of transactions written in their partitions (phase two): the
// leader of each, as this broker's view knows it, is told, and told again, until it has
// written the marker or the partition is not there any more.
//
// A transaction's partitions are in the line of a broker, in the request on its way to
// it, or among those that are tried later, so that what is held is never more than the
// transactions that are decided.
//
// Concurrency: mu guards all; nothing is called with it held, but goroutines are
// started: one for each broker that has a line, and one while there is something to be
// tried later.
type markers struct {
	view         *cluster.View
	sender       Sender
	partitionsOf func(ctx context.Context, topic string) (int32, error)
	timeout      time.Duration
	logger       *slog.Logger
	refusals     loglimit.Limit // lines about markers that could not be written

	ctx        context.Context
	cancel     context.CancelFunc
	background sync.WaitGroup

	mu       sync.Mutex
	jobs     map[*job]struct{}
	outboxes map[int32]*outbox
	later    map[*job][]protocol.TopicPartition
	retrying bool
}

// job is a transaction that is to end in its partitions.
type job struct {
	of *hosted
	*decision
	coordinatorEpoch int32
	left             int  // partitions without a marker
	ended            bool // it has been done, or must not be done any more
}

func newMarkers(cfg Config, view *cluster.View, sender Sender) *markers {
	m := &markers{
		view: view, sender: sender, partitionsOf: cfg.PartitionsOf, timeout: cfg.RequestTimeout, logger: cfg.Logger,
		jobs: map[*job]struct{}{}, outboxes: map[int32]*outbox{}, later: map[*job][]protocol.TopicPartition{},
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// add begins with the markers of a transaction, unless its leadership has ended.
func (m *markers) add(h *hosted, d *decision) {
	j := &job{of: h, decision: d, coordinatorEpoch: h.of.epoch, left: len(d.partitions)}
	m.mu.Lock()
	if h.of.ctx.Err() != nil || m.ctx.Err() != nil {
		m.mu.Unlock()
		return
	}
	m.jobs[j] = struct{}{}
	if m.finishIfDone(j) {
		m.background.Go(h.marked) // this may be a callback of the log
	}
	m.route(j, d.partitions)
	m.mu.Unlock()
}

// drop forgets the transactions of a leadership that has ended. Whoever leads next
// begins with their markers anew. The leadership's context has ended before.
func (m *markers) drop(p *partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for j := range m.jobs {
		if j.of.of == p {
			m.finish(j)
		}
	}
}

// stop returns when nothing is on its way any more.
func (m *markers) stop() {
	m.mu.Lock()
	m.cancel() // under mu, so that add starts no goroutine after it
	m.mu.Unlock()
	m.background.Wait()
}

func (m *markers) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.jobs)
}

// finish ends a job. mu is held.
func (m *markers) finish(j *job) {
	j.ended = true
	delete(m.jobs, j)
	delete(m.later, j)
}

// finishIfDone ends a job that has no partitions left, and reports whether it does. mu is
// held.
func (m *markers) finishIfDone(j *job) bool {
	if j.ended || j.left > 0 {
		return false
	}
	m.finish(j)
	return true
}

// route puts partitions of a job into the lines of their leaders. mu is held.
func (m *markers) route(j *job, partitions []protocol.TopicPartition) {
	if j.ended {
		return
	}
	view := m.view.Snapshot()
	for _, tp := range partitions {
		if p, known := view.Partition(tp); known && p.Leader >= 0 {
			m.outbox(p.Leader).add(j, tp)
		} else {
			m.retry(j, tp)
		}
	}
}

// retry has a partition of a job tried again after a while. mu is held.
func (m *markers) retry(j *job, tp protocol.TopicPartition) {
	if j.ended {
		return
	}
	m.later[j] = append(m.later[j], tp)
	if !m.retrying && m.ctx.Err() == nil {
		m.retrying = true
		m.background.Go(m.retryWhileThereAre)
	}
}

func (m *markers) retryWhileThereAre() {
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-time.After(markerRetry):
		}
		if !m.retryAll() {
			return
		}
	}
}

// retryAll looks for the leaders of all that is to be tried again. It returns false if
// there is nothing.
func (m *markers) retryAll() bool {
	gone := m.lookForGone()
	m.mu.Lock()
	if len(m.later) == 0 {
		m.retrying = false
		m.mu.Unlock()
		return false
	}
	later := m.later
	m.later = map[*job][]protocol.TopicPartition{}
	var done []*job
	for j, partitions := range later {
		there := partitions[:0]
		for _, tp := range partitions {
			if n, asked := gone[tp.Topic]; asked && tp.Partition >= n {
				j.left--
			} else {
				there = append(there, tp)
			}
		}
		if m.finishIfDone(j) {
			done = append(done, j)
		}
		m.route(j, there)
	}
	m.mu.Unlock()
	for _, j := range done {
		j.of.marked()
	}
	return true
}

// lookForGone asks how many partitions topics have that the view does not know. What the
// view does not know may have been deleted, or has not been told yet to a broker that
// has just started: without a marker, readers would wait for ever for the end of the
// transaction.
func (m *markers) lookForGone() map[string]int32 {
	unknown := map[string]int32{}
	view := m.view.Snapshot()
	m.mu.Lock()
	for _, partitions := range m.later {
		for _, tp := range partitions {
			if _, known := view.Partition(tp); !known {
				unknown[tp.Topic] = 0
			}
		}
	}
	m.mu.Unlock()
	for topic := range unknown {
		n, err := m.partitionsOf(m.ctx, topic)
		if err != nil {
			delete(unknown, topic)
			m.say("cannot find out whether a topic with an open transaction exists", "topic", topic, "err", err)
			continue
		}
		unknown[topic] = n
	}
	return unknown
}

func (m *markers) say(message string, args ...any) {
	if m.ctx.Err() == nil && m.refusals.Say() {
		m.logger.Warn(message, args...)
	}
}
