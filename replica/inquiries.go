package replica

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/gracchus-mq/gracchus/protocol"
)

// inquiries asks followers whether they know of a newer leader. All that is to be asked of
// a broker while it is being asked goes with one request, the next: an answer counts only
// for who asked before the request left.
//
// Concurrency: ask may be called by any goroutine. mu is a leaf.
type inquiries struct {
	broker int32 // this one
	peers  Peers

	mu sync.Mutex
	// waiting are those that the next request to a broker carries. The broker has an entry
	// while a goroutine asks it.
	waiting map[int32][]inquiry
	ctx     context.Context // of all requests
	cancel  context.CancelFunc
	asking  sync.WaitGroup
}

// inquiry is one question. Nobody waits for the answer any more when ctx has ended.
type inquiry struct {
	ctx    context.Context
	tp     protocol.TopicPartition
	epoch  int32
	answer chan error // has room for it
}

// inquiryTimeout is how long a broker may take to answer until the next request follows.
const inquiryTimeout = 2 * time.Second

// errReplaced is the answer that there is a newer leader.
var errReplaced = fmt.Errorf("an in-sync replica knows a newer leader: %w", kerr.NotLeaderForPartition)

func newInquiries(broker int32, peers Peers) *inquiries {
	ctx, cancel := context.WithCancel(context.Background())
	return &inquiries{broker: broker, peers: peers, waiting: map[int32][]inquiry{}, ctx: ctx, cancel: cancel}
}

// stop returns when nobody is asked any more.
func (q *inquiries) stop() {
	q.mu.Lock()
	q.cancel()
	q.mu.Unlock()
	q.asking.Wait()
}

// ask has a broker be asked whether it follows in an epoch, or in an earlier one. The
// answer is nil if so, errReplaced if it follows or leads in a later one, or why that is
// not known.
func (q *inquiries) ask(ctx context.Context, broker int32, tp protocol.TopicPartition, epoch int32) inquiry {
	i := inquiry{ctx, tp, epoch, make(chan error, 1)}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.ctx.Err(); err != nil {
		i.answer <- err
		return i
	}
	list, busy := q.waiting[broker]
	q.waiting[broker] = append(list, i)
	if !busy {
		q.asking.Go(func() { q.run(broker) })
	}
	return i
}

// run asks a broker until nothing is left to be asked.
func (q *inquiries) run(broker int32) {
	for {
		q.mu.Lock()
		list := q.waiting[broker]
		if len(list) == 0 {
			delete(q.waiting, broker)
			q.mu.Unlock()
			return
		}
		q.waiting[broker] = nil
		q.mu.Unlock()
		q.round(broker, list)
	}
}

// round asks a broker once for all who still wait.
func (q *inquiries) round(broker int32, list []inquiry) {
	// Of two epochs that are asked about the later one is this broker's, too.
	epochs := map[protocol.TopicPartition]int32{}
	for _, i := range list {
		if known, there := epochs[i.tp]; i.ctx.Err() == nil && (!there || i.epoch > known) {
			epochs[i.tp] = i.epoch
		}
	}
	if len(epochs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(q.ctx, inquiryTimeout)
	defer cancel()
	resp, err := q.peers.Send(ctx, peer.Target{Broker: broker, Purpose: peer.ForConfirmation}, question(q.broker, epochs))
	answers := map[protocol.TopicPartition]error{}
	if err == nil {
		answers = confirmed(resp.(*kmsg.OffsetForLeaderEpochResponse))
	}
	for _, i := range list {
		answer, said := answers[i.tp]
		switch {
		case err != nil:
			answer = fmt.Errorf("ask broker %d, which is in sync: %w", broker, err)
		case !said:
			answer = fmt.Errorf("broker %d, which is in sync, does not mention %v", broker, i.tp)
		}
		i.answer <- answer
	}
}

// question asks about partitions which this broker leads in those epochs, as if it were in
// the next one: who hosts them in one of those, or an earlier one, does not know it. That
// is the one answer that a broker cannot give which has forgotten, in a restart, that it
// has led.
func question(self int32, epochs map[protocol.TopicPartition]int32) *kmsg.OffsetForLeaderEpochRequest {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = self
	topics := map[string]int{}
	for tp, epoch := range epochs {
		n, there := topics[tp.Topic]
		if !there {
			n = len(req.Topics)
			topics[tp.Topic] = n
			t := kmsg.NewOffsetForLeaderEpochRequestTopic()
			t.Topic = tp.Topic
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = tp.Partition, epoch+1, epoch
		req.Topics[n].Partitions = append(req.Topics[n].Partitions, p)
	}
	return req
}

// confirmed reads the answers to it.
func confirmed(resp *kmsg.OffsetForLeaderEpochResponse) map[protocol.TopicPartition]error {
	answers := map[protocol.TopicPartition]error{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			var answer error
			switch err := kerr.ErrorForCode(p.ErrorCode); err {
			case kerr.UnknownLeaderEpoch:
			case nil, kerr.FencedLeaderEpoch: // it leads in the next one, or knows a later one
				answer = errReplaced
			default:
				answer = fmt.Errorf("an in-sync replica does not know who leads: %w", err)
			}
			answers[protocol.TopicPartition{Topic: t.Topic, Partition: p.Partition}] = answer
		}
	}
	return answers
}
