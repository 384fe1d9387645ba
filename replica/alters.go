package replica

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/protocol"
)

// alterPause comes before a proposal is sent again (Kafka's 50 ms).
const alterPause = 50 * time.Millisecond

// lastAlterWithNames is the last version of AlterPartition that names topics and
// does not need their ids.
const lastAlterWithNames = 1

// controllerSender sends requests to the controller: *peer.Pool.
type controllerSender interface {
	SendToController(ctx context.Context, broker int32, req kmsg.Request) (kmsg.Response, error)
}

// alters asks the controller for ISRs (KIP-497). There is one request on its way
// at a time, which carries everything that has been proposed when it leaves; a
// partition has at most one proposal, in its role. All methods may be called by
// any goroutine; one goroutine, run, sends.
type alters struct {
	broker      int32
	brokerEpoch func() int64
	peers       controllerSender
	view        *cluster.View
	logger      *slog.Logger

	mu    sync.Mutex
	queue []*Partition // those with proposals that are to be sent
	some  chan struct{}

	cancel context.CancelFunc
	done   sync.WaitGroup
}

func newAlters(broker int32, brokerEpoch func() int64, peers controllerSender, view *cluster.View, logger *slog.Logger) *alters {
	return &alters{broker: broker, brokerEpoch: brokerEpoch, peers: peers, view: view, logger: logger, some: make(chan struct{}, 1)}
}

// request has the partition's proposal sent soon.
func (a *alters) request(partitions ...*Partition) {
	a.mu.Lock()
	a.queue = append(a.queue, partitions...)
	a.mu.Unlock()
	select {
	case a.some <- struct{}{}:
	default:
	}
}

func (a *alters) start() {
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	a.done.Go(func() { a.run(ctx) })
}

func (a *alters) stop() {
	if a.cancel != nil {
		a.cancel()
		a.done.Wait()
	}
}

func (a *alters) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.some:
		}
		a.mu.Lock()
		partitions := a.queue
		a.queue = nil
		a.mu.Unlock()
		if again := a.round(ctx, partitions); again != nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(alterPause):
			}
			a.request(again...)
		}
	}
}

// proposal is a partition and the role in which it waits for an answer.
type proposal struct {
	p    *Partition
	role *role
}

// round sends what the partitions propose, in one request, or two if some topics
// have no id, and hands out the answers. It returns the partitions that must ask
// again, after a pause.
func (a *alters) round(ctx context.Context, partitions []*Partition) (again []*Partition) {
	var byID, byName []proposal
	seen := make(map[*Partition]bool, len(partitions)) // one that got a new role proposes anew
	for _, p := range partitions {
		r := p.role.Load()
		again := seen[p]
		seen[p] = true
		switch {
		case again, r.pending == nil || r.gone != nil: // its role has changed
		case r.log.TopicID().IsZero():
			byName = append(byName, proposal{p, r})
		default:
			byID = append(byID, proposal{p, r})
		}
	}
	for _, ps := range [][]proposal{byID, byName} {
		if len(ps) > 0 {
			again = append(again, a.send(ctx, ps)...)
		}
	}
	return again
}

// send sends one request. Who returns from it has no answer yet.
func (a *alters) send(ctx context.Context, proposals []proposal) (again []*Partition) {
	req, index := a.build(proposals)
	controller := a.view.Snapshot().ControllerID()
	answer, err := a.ask(ctx, controller, req)
	if err != nil {
		a.logger.Debug("the controller has not decided on in-sync replicas", "controller", controller, "partitions", len(proposals), "err", err)
		answer = &kmsg.AlterPartitionResponse{}
	}
	decided := make([]bool, len(proposals))
	for i := range answer.Topics {
		t := &answer.Topics[i]
		for j := range t.Partitions {
			q := &t.Partitions[j]
			if n, ok := index[alterKey{id: t.TopidID, topic: t.Topic, partition: q.Partition}]; ok {
				decided[n] = a.take(proposals[n], q)
			}
		}
	}
	for n, asked := range proposals {
		if !decided[n] {
			again = append(again, asked.p)
		}
	}
	return again
}

// ask returns the controller's answer, unless another controller takes over
// meanwhile: the old one may never answer.
func (a *alters) ask(ctx context.Context, controller int32, req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
	if controller < 0 {
		return nil, errors.New("no controller is known")
	}
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		a.view.Wait(ctx, func(s *cluster.Snapshot) bool { return s.ControllerID() != controller })
		cancel()
	})
	resp, err := a.peers.SendToController(ctx, controller, req)
	cancel()
	watching.Wait()
	if err != nil {
		return nil, err
	}
	answer := resp.(*kmsg.AlterPartitionResponse)
	return answer, kerr.ErrorForCode(answer.ErrorCode)
}

// alterKey names a partition as a version of the request does: by id or by name.
type alterKey struct {
	id        protocol.TopicID
	topic     string
	partition int32
}

// build returns the request, and which proposal a partition of the response is
// about, in either way to name it.
func (a *alters) build(proposals []proposal) (*kmsg.AlterPartitionRequest, map[alterKey]int) {
	req := kmsg.NewPtrAlterPartitionRequest()
	req.BrokerID, req.BrokerEpoch = a.broker, a.brokerEpoch()
	index := make(map[alterKey]int, 2*len(proposals))
	topics := map[string]int{}
	for n, asked := range proposals {
		tp, id := asked.p.tp, asked.role.log.TopicID()
		at, ok := topics[tp.Topic]
		if !ok {
			at = len(req.Topics)
			topics[tp.Topic] = at
			req.Topics = append(req.Topics, kmsg.AlterPartitionRequestTopic{Topic: tp.Topic, TopicID: id})
		}
		q := kmsg.NewAlterPartitionRequestTopicPartition()
		q.Partition, q.LeaderEpoch, q.PartitionEpoch = tp.Partition, asked.role.leaderEpoch, asked.role.partitionEpoch
		q.NewISR = asked.role.pending
		for _, broker := range asked.role.pending {
			epoch := asked.role.epochOf(broker, a.broker, req.BrokerEpoch)
			q.NewEpochISR = append(q.NewEpochISR, kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: broker, BrokerEpoch: epoch})
		}
		req.Topics[at].Partitions = append(req.Topics[at].Partitions, q)
		index[alterKey{topic: tp.Topic, partition: tp.Partition}] = n
		if id.IsZero() {
			req.SetVersion(lastAlterWithNames)
		} else {
			index[alterKey{id: id, partition: tp.Partition}] = n
		}
	}
	return req, index
}

// epochOf is the registration in which a member of the ISR was last heard of
// (KIP-903), −1 if it has not said; a controller that knows of a newer one refuses
// the member.
func (r *role) epochOf(id, self int32, own int64) int64 {
	if id == self {
		return own
	}
	r.followers.mu.Lock()
	defer r.followers.mu.Unlock()
	if f := r.followers.find(id); f != nil {
		return f.brokerEpoch
	}
	return -1
}

// take hands the answer to its partition. It reports false if that is none,
// and it must ask again.
func (a *alters) take(asked proposal, q *kmsg.AlterPartitionResponseTopicPartition) (decided bool) {
	err := kerr.ErrorForCode(q.ErrorCode)
	answer := isrDecided
	switch {
	case err == nil && q.LeaderEpoch != asked.role.leaderEpoch:
		answer = isrSuperseded
	case err == nil:
	case errors.Is(err, kerr.IneligibleReplica), errors.Is(err, kerr.OperationNotAttempted):
		answer = isrRefused
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.InvalidRequest), errors.Is(err, kerr.FencedLeaderEpoch),
		errors.Is(err, kerr.InvalidUpdateVersion), errors.Is(err, kerr.UnknownTopicID):
		answer = isrSuperseded
	default:
		return false
	}
	a.logger.Debug("in-sync replicas", "partition", asked.p.tp.String(), "proposed", asked.role.pending, "isr", q.ISR, "version", q.PartitionEpoch, "err", err)
	asked.p.isrAnswered(asked.role, answer, q.ISR, q.PartitionEpoch)
	return true
}
