package replica

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

// NoEpoch, as the leader epoch that a request carries, means that it carries
// none and that the partition's is not to be compared.
const NoEpoch int32 = -1

// Partition is one partition that this broker has a replica of, or had when the
// Partition was looked up: after its deletion everything answers an error.
//
// Concurrency: all methods may be called by any goroutine. The role is immutable
// and swapped under mu; appends hold mu shared, so that none is under way when
// the role changes. Whoever only reads takes the role as it is: what it reads in
// the moment of a change it could have read just before.
type Partition struct {
	tp     protocol.TopicPartition
	shared *shared

	mu   sync.RWMutex
	role atomic.Pointer[role]

	waiters    waiters
	watchers   watchers
	syncQueued atomic.Bool // belongs to syncer
}

// shared is what all partitions of a broker have in common.
type shared struct {
	broker    int32
	lagMax    time.Duration // replica.lag.time.max.ms
	view      *cluster.View
	syncer    *syncer
	alters    *alters
	inquiries *inquiries // nil without peers
}

// alive reports whether a broker is alive as far as this one knows.
func (s *shared) alive(id int32) bool {
	_, ok := s.view.Snapshot().Broker(id)
	return ok
}

// role is what this broker is in a partition.
type role struct {
	// gone is why the partition is not served here: deleted, or its directory
	// failed. Nothing else counts then.
	gone error
	log  *commitlog.Log // nil before the first role

	leading        bool
	leader         int32
	leaderEpoch    int32 // −1 before the first role
	partitionEpoch int32 // version of the partition's state in ZooKeeper
	// leadingSince is the epoch from which on this broker has led without a
	// break: what it appended since is still in the log.
	leadingSince int32
	// epochStart is where the log ended when this broker became leader, 0 of a
	// follower.
	epochStart int64
	replicas   []int32
	stopped    bool       // a follower that is not to fetch any more
	isr        []int32    // only of a leader: as the controller last said
	pending    []int32    // the ISR that the controller is asked for; nil if there is no such request
	followers  *followers // only of a leader
}

// following reports whether the partition is to be copied from its leader.
func (r *role) following() bool {
	return r.gone == nil && r.log != nil && !r.leading && r.leader >= 0 && !r.stopped
}

// maximalISR is the ISR with those who would join it: the controller may have
// decided it, and this broker not know yet.
func (r *role) maximalISR() []int32 {
	if len(r.pending) > len(r.isr) {
		return r.pending
	}
	return r.isr
}

func newPartition(tp protocol.TopicPartition, s *shared) *Partition {
	p := &Partition{tp: tp, shared: s}
	p.role.Store(&role{leader: -1, leaderEpoch: -1, partitionEpoch: -1})
	return p
}

// TopicPartition is the partition's name.
func (p *Partition) TopicPartition() protocol.TopicPartition { return p.tp }

// TopicID is the topic's id, zero if it is not known.
func (p *Partition) TopicID() protocol.TopicID {
	if log := p.role.Load().log; log != nil {
		return log.TopicID()
	}
	return protocol.TopicID{}
}

// Leader returns who leads, −1 if unknown, and in which epoch.
func (p *Partition) Leader() (broker, epoch int32) {
	r := p.role.Load()
	return r.leader, r.leaderEpoch
}

// Leads reports whether this broker leads the partition, and in which epoch.
func (p *Partition) Leads() (epoch int32, leads bool) {
	r := p.role.Load()
	return r.leaderEpoch, r.gone == nil && r.leading
}

// Log is the partition's log; it is meant for what looks at logs whatever the
// role, as DescribeProducers and the loading of coordinators. Errors are those of
// a partition that is gone, or has no role yet.
func (p *Partition) Log() (*commitlog.Log, error) {
	r := p.role.Load()
	if err := r.serve(p.tp, false, NoEpoch); err != nil {
		return nil, err
	}
	return r.log, nil
}

// serve returns why the role cannot serve a request that carries a leader epoch
// (KIP-320) and may need the leader.
func (r *role) serve(tp protocol.TopicPartition, needLeader bool, epoch int32) error {
	switch {
	case r.gone != nil:
		return fmt.Errorf("%v: %w", tp, r.gone)
	case epoch != NoEpoch && epoch < r.leaderEpoch:
		return fmt.Errorf("%v: request of leader epoch %d, it is %d: %w", tp, epoch, r.leaderEpoch, kerr.FencedLeaderEpoch)
	case epoch != NoEpoch && epoch > r.leaderEpoch:
		return fmt.Errorf("%v: request of leader epoch %d, it is %d: %w", tp, epoch, r.leaderEpoch, kerr.UnknownLeaderEpoch)
	case r.log == nil || needLeader && !r.leading:
		return fmt.Errorf("%v is not led by this broker: %w", tp, kerr.NotLeaderForPartition)
	}
	return nil
}

// explain turns the error of a log that was closed under a request, which a
// reader notices by its files, into what it means for the partition.
func (p *Partition) explain(err error) error {
	if !errors.Is(err, commitlog.ErrClosed) && !errors.Is(err, fs.ErrClosed) {
		return err
	}
	if gone := p.role.Load().gone; gone != nil {
		return fmt.Errorf("%v: %w", p.tp, gone)
	}
	return fmt.Errorf("%v: %w: %w", p.tp, err, kerr.KafkaStorageError)
}

// ledSince reports whether this broker leads, and did so already in the given
// epoch and all the time since.
func (r *role) ledSince(epoch int32) bool {
	return r.gone == nil && r.leading && r.leadingSince <= epoch && epoch <= r.leaderEpoch
}

// setRole swaps the role and tells everybody who waits on the partition. change
// gets the current role and returns the next one, or nil to leave it.
func (p *Partition) setRole(change func(current *role) (*role, error)) (next *role, err error) {
	p.mu.Lock()
	next, err = change(p.role.Load())
	if next != nil {
		p.role.Store(next)
		p.advance(next) // the ISR may be down to this broker
	}
	p.mu.Unlock()
	if next == nil {
		return nil, err
	}
	if lost := next.serve(p.tp, true, NoEpoch); lost != nil {
		p.waiters.failAll(lost)
	} else {
		p.wake(next)
		if next.localEnd() < next.log.EndOffset() {
			p.shared.syncer.request(p) // or the high watermark would wait for an append
		}
	}
	p.watchers.moved(allMoves, nil)
	return next, err
}
