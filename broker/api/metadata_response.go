package api

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/protocol"
)

// metadataWriter writes Metadata responses straight from a snapshot: with many
// partitions, building a structure for each first is most of the work.
type metadataWriter struct {
	snapshot                           *cluster.Snapshot
	listener                           string
	version                            int16
	flexible                           bool
	topicOperations, clusterOperations bool // asked for
}

// head writes what comes before the topics, behind the throttle time.
func (w *metadataWriter) head(b []byte, clusterID string) []byte {
	reachable := 0
	for _, broker := range w.snapshot.Brokers() {
		if _, ok := broker.Endpoint(w.listener); ok {
			reachable++
		}
	}
	b = appendArray(b, reachable, w.flexible)
	for _, broker := range w.snapshot.Brokers() {
		if e, ok := broker.Endpoint(w.listener); ok {
			b = w.broker(b, broker, e)
		}
	}
	return w.controller(b, &clusterID, w.snapshot.ControllerID())
}

func (w *metadataWriter) broker(b []byte, broker cluster.Broker, e cluster.Endpoint) []byte {
	b = appendInt32(b, broker.ID)
	b = appendString(b, e.Host, w.flexible)
	b = appendInt32(b, e.Port)
	if w.version >= 1 {
		b = appendNullableString(b, rackPtr(broker), w.flexible)
	}
	return appendTags(b, w.flexible)
}

func (w *metadataWriter) controller(b []byte, clusterID *string, id int32) []byte {
	if w.version >= 2 {
		b = appendNullableString(b, clusterID, w.flexible)
	}
	if w.version >= 1 {
		b = appendInt32(b, id)
	}
	return b
}

// end writes what comes behind the topics.
func (w *metadataWriter) end(b []byte) []byte {
	if w.version >= 8 && w.version <= 10 {
		b = appendInt32(b, operations(w.clusterOperations, clusterOperations))
	}
	return appendTags(b, w.flexible)
}

func operations(asked bool, allowed int32) int32 {
	if asked {
		return allowed
	}
	return noOperations
}

// refusal answers a request that is refused as a whole: it repeats the topics and
// tells of no broker.
func (w *metadataWriter) refusal(b []byte, topics []kmsg.MetadataRequestTopic, code int16) []byte {
	b = appendArray(b, 0, w.flexible)
	b = w.controller(b, nil, -1)
	b = appendArray(b, len(topics), w.flexible)
	for _, t := range topics {
		name := t.Topic
		if name == nil {
			name = stringPtr("")
		}
		b = w.topicHead(b, code, name, t.TopicID, false, 0)
		b = w.topicEnd(b, noOperations)
	}
	return w.end(b)
}

// byID describes topics by their ids, each once; names in such a request are
// ignored.
func (w *metadataWriter) byID(b []byte, topics []kmsg.MetadataRequestTopic) []byte {
	ids := make([]protocol.TopicID, 0, len(topics))
	seen := make(map[protocol.TopicID]bool, len(topics))
	for _, t := range topics {
		if !seen[t.TopicID] && t.TopicID != [16]byte{} {
			seen[t.TopicID] = true
			ids = append(ids, t.TopicID)
		}
	}
	b = appendArray(b, len(ids), w.flexible)
	for _, id := range ids {
		if known, ok := w.snapshot.TopicByID(id); ok {
			b = w.topic(b, known)
		} else {
			b = w.noTopic(b, kerr.UnknownTopicID.Code, nil, id)
		}
	}
	return w.end(b)
}

// noTopic writes a topic that is not there. name is nil if it was asked for by
// its id.
func (w *metadataWriter) noTopic(b []byte, code int16, name *string, id protocol.TopicID) []byte {
	internal := name != nil && protocol.IsInternalTopic(*name)
	b = w.topicHead(b, code, name, id, internal, 0)
	// Kafka does not say what one may do with a topic whose name it does not know.
	return w.topicEnd(b, operations(w.topicOperations && name != nil, topicOperations))
}

func (w *metadataWriter) topic(b []byte, t *cluster.Topic) []byte {
	b = w.topicHead(b, 0, &t.Name, t.ID, protocol.IsInternalTopic(t.Name), len(t.Partitions))
	for i := range t.Partitions {
		b = w.partition(b, &t.Partitions[i])
	}
	return w.topicEnd(b, operations(w.topicOperations, topicOperations))
}

func (w *metadataWriter) topicHead(b []byte, code int16, name *string, id protocol.TopicID, internal bool, partitions int) []byte {
	b = appendInt16(b, code)
	b = appendNullableString(b, name, w.flexible)
	if w.version >= 10 {
		b = append(b, id[:]...)
	}
	if w.version >= 1 {
		b = appendBool(b, internal)
	}
	return appendArray(b, partitions, w.flexible)
}

func (w *metadataWriter) topicEnd(b []byte, operations int32) []byte {
	if w.version >= 8 {
		b = appendInt32(b, operations)
	}
	return appendTags(b, w.flexible)
}

func (w *metadataWriter) partition(b []byte, p *cluster.Partition) []byte {
	replicas, isr := p.Replicas, p.ISR
	if w.version == 0 {
		// The first version lists only brokers that it can also describe.
		replicas, isr = w.alive(replicas), w.alive(isr)
	}
	leader, code := p.Leader, int16(0)
	if _, _, ok := reachable(w.snapshot, p.Leader, w.listener); !ok {
		leader, code = cluster.NoLeader, kerr.LeaderNotAvailable.Code
		if _, alive := w.snapshot.Broker(p.Leader); alive && w.version >= 6 {
			code = kerr.ListenerNotFound.Code
		}
	} else if len(replicas) < len(p.Replicas) || len(isr) < len(p.ISR) {
		code = kerr.ReplicaNotAvailable.Code
	}
	b = appendInt16(b, code)
	b = appendInt32(b, p.ID)
	b = appendInt32(b, leader)
	if w.version >= 7 {
		b = appendInt32(b, p.LeaderEpoch)
	}
	b = appendInt32s(b, replicas, w.flexible)
	b = appendInt32s(b, isr, w.flexible)
	if w.version >= 5 {
		b = appendInt32s(b, p.OfflineReplicas, w.flexible)
	}
	return appendTags(b, w.flexible)
}

func (w *metadataWriter) alive(ids []int32) []int32 {
	out := make([]int32, 0, len(ids))
	for _, id := range ids {
		if _, _, ok := reachable(w.snapshot, id, w.listener); ok {
			out = append(out, id)
		}
	}
	return out
}
