// Package lag tells how far consumer groups are behind: for operators, by whatever shows
// it to them.
package lag

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/cluster/peer"
	"github.com/gracchus-mq/gracchus/group"
	"github.com/gracchus-mq/gracchus/protocol"
)

// Unknown stands for an end, and a lag, that could not be found out.
const Unknown = -1

// Lag is how far a group is behind in a partition.
type Lag struct {
	Group string
	protocol.TopicPartition
	Committed int64
	// End is the high watermark, where the partition ends for its readers, and Lag how
	// far it is from Committed up to there, never below 0. Both are Unknown if the
	// partition's leader has not told.
	End, Lag int64
}

// Sender sends a request to a broker and returns its response, as [peer.Pool] does.
type Sender interface {
	Send(ctx context.Context, to peer.Target, req kmsg.Request) (kmsg.Response, error)
}

// Reporter reports on the groups that this broker coordinates. Every broker of a cluster
// reports on its own; together they are all.
type Reporter struct {
	Groups *group.Coordinator
	View   *cluster.View
	Peers  Sender
}

// Report returns the lag of every group in every partition for which it has committed an
// offset, ordered by group and partition. It asks each leader once (ListOffsets); what
// those have not answered when ctx ends is Unknown.
func (r *Reporter) Report(ctx context.Context) []Lag {
	var lags []Lag
	ends := map[protocol.TopicPartition]int64{}
	for id, o := range r.Groups.AllOffsets() {
		lags = append(lags, Lag{id, o.TopicPartition, o.Offset, Unknown, Unknown})
		ends[o.TopicPartition] = Unknown
	}
	r.find(ctx, ends)
	for i := range lags {
		l := &lags[i]
		if end := ends[l.TopicPartition]; end != Unknown {
			l.End, l.Lag = end, max(end-l.Committed, 0)
		}
	}
	slices.SortFunc(lags, func(a, b Lag) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), a.TopicPartition.Compare(b.TopicPartition))
	})
	return lags
}

// find asks the leaders where their partitions end.
func (r *Reporter) find(ctx context.Context, ends map[protocol.TopicPartition]int64) {
	led := map[int32]map[string][]int32{}
	snapshot := r.View.Snapshot()
	for tp := range ends {
		p, known := snapshot.Partition(tp)
		if !known || p.Leader < 0 {
			continue
		}
		if led[p.Leader] == nil {
			led[p.Leader] = map[string][]int32{}
		}
		led[p.Leader][tp.Topic] = append(led[p.Leader][tp.Topic], tp.Partition)
	}
	var asking sync.WaitGroup
	var mu sync.Mutex // guards ends
	for leader, topics := range led {
		asking.Go(func() {
			found := r.ask(ctx, leader, topics)
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(ends, found)
		})
	}
	asking.Wait()
}

// ask asks one leader, and returns what it has told.
func (r *Reporter) ask(ctx context.Context, leader int32, topics map[string][]int32) map[protocol.TopicPartition]int64 {
	const latest, consumer = -1, -1
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = consumer
	for topic, partitions := range topics {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		for _, n := range partitions {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = n, latest
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	answer, err := r.Peers.Send(ctx, peer.Target{Broker: leader, Purpose: peer.ForReports}, req)
	if err != nil {
		return nil
	}
	found := map[protocol.TopicPartition]int64{}
	for _, t := range answer.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 {
				found[protocol.TopicPartition{Topic: t.Topic, Partition: p.Partition}] = p.Offset
			}
		}
	}
	return found
}
