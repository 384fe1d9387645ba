package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// watch asks every broker, all the time, who leads what and where partitions end, and
// remembers what must not have been said. As clients do, it tells the newest epoch that
// it knows, so that a leader that has been replaced, and cannot know, does not answer.
type watch struct {
	t       *testing.T
	topic   string
	brokers []*kgo.Client // of broker i+1

	mu      sync.Mutex
	leaders map[reign]int32          // the leader of a partition in an epoch
	epochs  [faultPartitions]int32   // the newest of each partition
	latest  [faultPartitions]int64   // the highest end that was answered
	last    []*kmsg.MetadataResponse // what each broker said last, nil if it did not answer
	wrong   []string                 // what must not have been
	answers int                      // ends that were answered
}

type reign struct{ partition, epoch int32 }

func newWatch(t *testing.T, c *harness.Cluster, topic string) *watch {
	w := &watch{t: t, topic: topic, leaders: map[reign]int32{}, last: make([]*kmsg.MetadataResponse, len(c.Members))}
	for _, addr := range c.Addrs() {
		w.brokers = append(w.brokers, client(t, []string{addr}))
	}
	return w
}

// run watches until ctx ends.
func (w *watch) run(ctx context.Context) {
	var running sync.WaitGroup
	for i := range w.brokers {
		running.Go(func() {
			for ctx.Err() == nil {
				w.look(ctx, i)
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	running.Wait()
}

// look asks one broker.
func (w *watch) look(ctx context.Context, i int) {
	m := describe(ctx, w.brokers[i], w.topic)
	w.mu.Lock()
	w.last[i] = m
	if m != nil {
		for _, p := range m.Topics[0].Partitions {
			if p.Leader >= 0 {
				w.leads(p.Leader, reign{p.Partition, p.LeaderEpoch})
			}
		}
	}
	floor, epochs := w.latest, w.epochs
	w.mu.Unlock()

	ask := kmsg.NewPtrListOffsetsRequest()
	ask.ReplicaID = -1
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = w.topic
	for p := range int32(faultPartitions) {
		partition := kmsg.NewListOffsetsRequestTopicPartition()
		partition.Partition, partition.Timestamp, partition.CurrentLeaderEpoch = p, -1, epochs[p]
		topic.Partitions = append(topic.Partitions, partition)
	}
	ask.Topics = append(ask.Topics, topic)
	bounded, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	resp, err := w.brokers[i].SeedBrokers()[0].Request(bounded, ask)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions {
		if p.ErrorCode != 0 { // it leads something else
			continue
		}
		w.answers++
		w.leads(int32(i+1), reign{p.Partition, p.LeaderEpoch})
		if p.Offset < floor[p.Partition] {
			w.bad("broker %d says that partition %d ends at %d, after an answer of %d", i+1, p.Partition, p.Offset, floor[p.Partition])
		}
		w.latest[p.Partition] = max(w.latest[p.Partition], p.Offset)
	}
}

// leads remembers who leads a partition in an epoch. mu is held.
func (w *watch) leads(leader int32, r reign) {
	if before, known := w.leaders[r]; known && before != leader {
		w.bad("partition %d has two leaders in epoch %d, brokers %d and %d", r.partition, r.epoch, before, leader)
	}
	w.leaders[r] = leader
	w.epochs[r.partition] = max(w.epochs[r.partition], r.epoch)
}

func (w *watch) bad(format string, args ...any) {
	const enough = 20
	if len(w.wrong) < enough {
		w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
	}
}

// allLed says whether all brokers but the victim know of a leader for each partition,
// which is not the victim.
func (w *watch) allLed(victim int) bool {
	return w.everywhere(victim, func(p *kmsg.MetadataResponseTopicPartition) bool { return p.Leader > 0 && int(p.Leader) != victim })
}

// allInSync says whether all brokers know of all replicas being in sync.
func (w *watch) allInSync() bool {
	return w.everywhere(0, func(p *kmsg.MetadataResponseTopicPartition) bool { return p.Leader > 0 && len(p.ISR) == 3 })
}

// preferredLead says whether all brokers know of the first replicas being leaders.
func (w *watch) preferredLead() bool {
	return w.everywhere(0, func(p *kmsg.MetadataResponseTopicPartition) bool { return p.Leader == p.Replicas[0] })
}

// ledBy says whether a broker leads anything, by what any broker says.
func (w *watch) ledBy(broker int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.last, func(m *kmsg.MetadataResponse) bool {
		return m != nil && slices.ContainsFunc(m.Topics[0].Partitions, func(p kmsg.MetadataResponseTopicPartition) bool { return int(p.Leader) == broker })
	})
}

// unregistered says whether all other brokers have forgotten a broker.
func (w *watch) unregistered(broker int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, m := range w.last {
		if i+1 != broker && (m == nil || slices.ContainsFunc(m.Brokers, func(b kmsg.MetadataResponseBroker) bool { return int(b.NodeID) == broker })) {
			return false
		}
	}
	return true
}

func (w *watch) everywhere(victim int, is func(*kmsg.MetadataResponseTopicPartition) bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, m := range w.last {
		if i+1 == victim {
			continue
		}
		if m == nil || len(m.Topics[0].Partitions) != faultPartitions {
			return false
		}
		for j := range m.Topics[0].Partitions {
			if !is(&m.Topics[0].Partitions[j]) {
				return false
			}
		}
	}
	return true
}

// report fails the test for what must not have been.
func (w *watch) report() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, wrong := range w.wrong {
		w.t.Error(wrong)
	}
	w.t.Logf("%d latest offsets were answered, %d reigns seen", w.answers, len(w.leaders))
}
