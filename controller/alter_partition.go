package controller

import (
	"context"
	"errors"
	"fmt"

	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
	"github.com/twmb/franz-go/pkg/kerr"
)

// ISRResult is the answer to one ISRChange.
type ISRResult struct {
	State          zkmeta.PartitionState
	PartitionEpoch int32
	// Err, if set, says why the change was not made; State and PartitionEpoch are then not
	// set. It wraps one of kerr: UnknownTopicID, UnknownTopicOrPartition, NotController
	// (the leader knows more than this controller), FencedLeaderEpoch,
	// InvalidUpdateVersion (there is another state, which brokers are told), InvalidRequest,
	// or IneligibleReplica (a new member of the ISR is not alive, or about to go, or has
	// registered anew); or ZooKeeper failed.
	Err error
}

// alteration is a request for ISR changes, on its way through the loop.
type alteration struct {
	office      *office
	broker      int32
	brokerEpoch int64
	changes     []ISRChange
	answers     chan alterationAnswer // capacity 1
}

type alterationAnswer struct {
	results []ISRResult
	err     error
}

// AlterPartition makes changes of ISRs that a leader asks for, and returns a result for
// each, in order. The error is for all of them: kerr.NotController, or
// kerr.StaleBrokerEpoch if the broker is not registered in that epoch, wrapped. After
// kerr.NotController they may have been made; asking again for the same is answered
// with success.
//
// What leaders ask for while the loop is busy is written together.
func (c *Controller) AlterPartition(ctx context.Context, broker int32, brokerEpoch int64, changes []ISRChange) ([]ISRResult, error) {
	o := c.office()
	if o == nil {
		return nil, fmt.Errorf("ISR changes of broker %d: %w", broker, kerr.NotController)
	}
	a := &alteration{office: o, broker: broker, brokerEpoch: brokerEpoch, changes: changes, answers: make(chan alterationAnswer, 1)}
	c.inbox.put(func(e *events) { e.alterations = append(e.alterations, a) })
	answer, err := await(ctx, o, a.answers)
	if err == nil {
		err = answer.err
	}
	if err != nil {
		return nil, fmt.Errorf("ISR changes of broker %d: %w", broker, err)
	}
	return answer.results, nil
}

// alterPartitions makes the ISR changes of several leaders, with one pipelined write. A
// partition may be in it twice, when a leader did not wait for the answer: if the second
// change is the same it finds itself made, else another state than it expects.
func (t *term) alterPartitions(asked []*alteration) error {
	var w isrWrites
	var answered []*alteration
	var answers []alterationAnswer
	for _, a := range asked {
		if !a.office.inPower() {
			continue
		}
		answer := alterationAnswer{err: t.admitBroker(a.broker, a.brokerEpoch)}
		if answer.err == nil {
			answer.results = make([]ISRResult, len(a.changes))
			for i := range a.changes {
				t.alterPartition(&w, a.broker, &a.changes[i], &answer.results[i])
			}
		}
		answered, answers = append(answered, a), append(answers, answer)
	}
	if err := t.writeISRs(&w); err != nil {
		return err
	}
	for i, a := range answered {
		a.answers <- answers[i]
	}
	return nil
}

// admitBroker says whether a request is of a broker's current registration.
func (t *term) admitBroker(id int32, epoch int64) error {
	b, live := t.st.brokers[id]
	if !live {
		return fmt.Errorf("it is not registered: %w", kerr.StaleBrokerEpoch)
	}
	if b.Epoch != epoch {
		return fmt.Errorf("broker epoch %d, it is %d: %w", epoch, b.Epoch, kerr.StaleBrokerEpoch)
	}
	return nil
}

// isrWrites are changes that were found good and are to be written together.
type isrWrites struct {
	entries    []zkmeta.PartitionEntry
	partitions []*partition
	results    []*ISRResult
}

// alterPartition judges one change. It fills in the result, or leaves that to the
// write.
func (t *term) alterPartition(w *isrWrites, sender int32, c *ISRChange, result *ISRResult) {
	p, err := t.st.find(c)
	if err != nil {
		result.Err = err
		return
	}
	if p.state.ControllerEpoch > t.claim.Epoch {
		result.Err = kerr.NotController
		return
	}
	next, write, err := c.apply(sender, p.state, p.zkVersion, p.assignment.Replicas, t.st.stayingIn)
	if err != nil {
		t.logger.Info("refused a change of an ISR", "partition", p.TopicPartition, "broker", sender, "error", err,
			"asked for", c.ISR, "leader epoch", c.LeaderEpoch, "partition epoch", c.PartitionEpoch,
			"it has", p.state.ISR, "leader", p.state.Leader, "its leader epoch", p.state.LeaderEpoch, "its partition epoch", p.zkVersion)
		result.Err = err
		return
	}
	if !write {
		result.State, result.PartitionEpoch = p.state, p.zkVersion
		return
	}
	next.ControllerEpoch = t.claim.Epoch
	w.entries = append(w.entries, zkmeta.PartitionEntry{TopicPartition: p.TopicPartition, State: next, ZkVersion: p.zkVersion})
	w.partitions = append(w.partitions, p)
	w.results = append(w.results, result)
}

// find finds the partition of a change, by name or by id.
func (s *state) find(c *ISRChange) (*partition, error) {
	topic := s.topics[c.Topic]
	if c.Topic == "" {
		if topic = s.byID[c.TopicID]; topic == nil {
			return nil, kerr.UnknownTopicID
		}
	}
	if topic == nil || topic.partitions[c.Partition] == nil || !topic.partitions[c.Partition].stored {
		return nil, kerr.UnknownTopicOrPartition
	}
	return topic.partitions[c.Partition], nil
}

// writeISRs makes changes, and lets all brokers know. If another state stands
// there than the one that was judged, it is taken over, and the leader has to look
// again; a write that was done and whose reply was lost is found to be done.
func (t *term) writeISRs(w *isrWrites) error {
	written, err := t.zk.UpdatePartitionStates(t.ctx, t.claim, w.entries)
	if err != nil {
		return err
	}
	var b batch
	for i, r := range written {
		p, result := w.partitions[i], w.results[i]
		switch {
		case r.Err == nil:
			t.logger.Debug("ISR changed", "partition", p.TopicPartition, "isr", r.State.ISR, "partition epoch", r.ZkVersion)
			result.State, result.PartitionEpoch = r.State, r.ZkVersion
		case errors.Is(r.Err, session.ErrBadVersion):
			result.Err = fmt.Errorf("partition %v: %w", p.TopicPartition, kerr.InvalidUpdateVersion)
		default:
			result.Err = r.Err
			continue
		}
		t.st.setState(p, r.State, r.ZkVersion)
		b.state(t.st, p)
	}
	b.post(t.st)
	return nil
}
