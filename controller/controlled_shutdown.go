package controller

import (
	"context"
	"fmt"
	"slices"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/twmb/franz-go/pkg/kerr"
)

// AnyBrokerEpoch stands for a broker epoch that is not checked: the request is of a
// version that has none.
const AnyBrokerEpoch = -1

type shutdownAnswer struct {
	led []protocol.TopicPartition
	err error
}

// ControlledShutdown prepares the end of a broker: others take over what it leads, and
// it leaves the ISRs of what it follows. From then on it gets no leadership, and joins
// no ISR, until it registers again. The answer is what it still leads, ordered: those
// partitions that have more than one replica, but no other in sync. The broker may
// ask again.
//
// The error wraps kerr.NotController; kerr.StaleBrokerEpoch if the broker has
// registered anew since (an epoch that is higher than the one known is let pass, as by
// Kafka: the registration is about to be seen); or kerr.BrokerNotAvailable if it is not
// registered.
func (c *Controller) ControlledShutdown(ctx context.Context, broker int32, brokerEpoch int64) ([]protocol.TopicPartition, error) {
	answer, err := ask(ctx, c, func(t *term) (shutdownAnswer, error) {
		if err := t.beginShutdown(broker, brokerEpoch); err != nil {
			return shutdownAnswer{err: err}, nil
		}
		led, err := t.handOver(broker)
		return shutdownAnswer{led: led}, err
	})
	if err == nil {
		err = answer.err
	}
	if err != nil {
		return nil, fmt.Errorf("controlled shutdown of broker %d: %w", broker, err)
	}
	return answer.led, nil
}

// beginShutdown marks a broker as one that is about to go.
func (t *term) beginShutdown(id int32, epoch int64) error {
	b, live := t.st.brokers[id]
	if !live {
		return fmt.Errorf("it is not registered: %w", kerr.BrokerNotAvailable)
	}
	if epoch != AnyBrokerEpoch && epoch < b.Epoch {
		return fmt.Errorf("broker epoch %d, it is %d: %w", epoch, b.Epoch, kerr.StaleBrokerEpoch)
	}
	t.logger.Info("a broker is about to shut down", "broker", id)
	b.shuttingDown = true
	return nil
}

// handOver takes a broker out of all partitions that others can serve, and returns those
// that it still leads.
func (t *term) handOver(id int32) ([]protocol.TopicPartition, error) {
	var led, followed []*partition
	for _, p := range t.st.hostedWithOthers(id) {
		if p.state.Leader == id {
			led = append(led, p)
		} else {
			followed = append(followed, p)
		}
	}
	if err := t.electAll(electShutdown, led); err != nil {
		return nil, err
	}
	if err := t.endFollowing(id, followed); err != nil {
		return nil, err
	}
	var kept []protocol.TopicPartition
	for _, p := range led {
		if p.state.Leader == id {
			kept = append(kept, p.TopicPartition)
		}
	}
	return kept, nil
}

// endFollowing has a broker stop to follow partitions, and takes it out of their ISRs.
func (t *term) endFollowing(id int32, followed []*partition) error {
	var b batch
	for _, p := range followed {
		b.stop(id, p.TopicPartition, stop{leaderEpoch: p.state.LeaderEpoch})
	}
	b.post(t.st)
	next := func(p *partition) (zkmeta.PartitionState, bool) {
		return withoutReplicas(p.state, func(other int32) bool { return other == id })
	}
	return t.change(followed, next, func(b *batch, p *partition) {
		b.announce(t.st, p, filter(p.assignment.Replicas, func(other int32) bool { return other != id }), false)
	})
}

// hostedWithOthers returns the partitions of which a broker has one replica of several,
// ordered.
func (s *state) hostedWithOthers(id int32) []*partition {
	return s.selectPartitions(func(p *partition) bool {
		return p.stored && p.status != statusDeleting && len(p.assignment.Replicas) > 1 && slices.Contains(p.assignment.Replicas, id)
	})
}
