package api

import (
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
)

// metadata tells clients which brokers and topics there are and who leads what.
type metadata struct {
	clusterID string
	view      *cluster.View
	settings  *config.Settings
	topics    Topics
	codes     codes
}

func (h *metadata) handle(ctx context.Context, r *server.Request, req *kmsg.MetadataRequest) (*kmsg.MetadataResponse, error) {
	version := r.Header.Version
	resp := kmsg.NewPtrMetadataResponse()
	resp.ControllerID = -1
	resp.AuthorizedOperations = noOperations
	all := req.Topics == nil || version == 0 && len(req.Topics) == 0
	if code := checkMetadataTopics(version, req.Topics); code != 0 {
		resp.Topics = refuseTopics(req.Topics, code)
		return resp, nil
	}
	s := h.view.Snapshot()
	resp.ClusterID = &h.clusterID
	resp.ControllerID = s.ControllerID()
	for _, b := range s.Brokers() {
		if e, ok := b.Endpoint(r.Listener.Name); ok {
			resp.Brokers = append(resp.Brokers, kmsg.MetadataResponseBroker{NodeID: b.ID, Host: e.Host, Port: e.Port, Rack: rackPtr(b)})
		}
	}
	d := topicDescriber{snapshot: s, listener: r.Listener.Name, version: version}
	switch {
	case all:
		resp.Topics = make([]kmsg.MetadataResponseTopic, 0, s.TopicCount())
		for t := range s.Topics() {
			resp.Topics = append(resp.Topics, d.topic(t))
		}
	case slices.ContainsFunc(req.Topics, func(t kmsg.MetadataRequestTopic) bool { return t.TopicID != [16]byte{} }):
		resp.Topics = d.byID(req.Topics)
	default:
		mayCreate := h.settings.Broker().Topics.AutoCreate && (version < 4 || req.AllowAutoTopicCreation)
		resp.Topics = h.byName(ctx, &d, req.Topics, mayCreate)
	}
	if version >= 8 && req.IncludeTopicAuthorizedOperations {
		for i := range resp.Topics {
			if resp.Topics[i].ErrorCode != kerr.UnknownTopicID.Code {
				resp.Topics[i].AuthorizedOperations = topicOperations
			}
		}
	}
	if version >= 8 && version <= 10 && req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = clusterOperations
	}
	return resp, nil
}

// checkMetadataTopics refuses what versions 10 and 11 can express and do not
// allow: topic ids, and topics without a name.
func checkMetadataTopics(version int16, topics []kmsg.MetadataRequestTopic) int16 {
	for i := range topics {
		switch t := &topics[i]; {
		case version < 12 && (t.Topic == nil || t.TopicID != [16]byte{}):
			return kerr.InvalidRequest.Code
		case t.Topic == nil && t.TopicID == [16]byte{}:
			return kerr.UnknownServerError.Code // an oversight of Kafka's that clients can see
		}
	}
	return 0
}

// refuseTopics repeats the topics of a request that is refused as a whole.
func refuseTopics(topics []kmsg.MetadataRequestTopic, code int16) []kmsg.MetadataResponseTopic {
	out := make([]kmsg.MetadataResponseTopic, len(topics))
	for i, t := range topics {
		out[i] = newMetadataTopic(code)
		out[i].Topic, out[i].TopicID = t.Topic, t.TopicID
		if t.Topic == nil {
			out[i].Topic = stringPtr("")
		}
	}
	return out
}

func newMetadataTopic(code int16) kmsg.MetadataResponseTopic {
	t := kmsg.NewMetadataResponseTopic()
	t.ErrorCode = code
	t.AuthorizedOperations = noOperations
	return t
}

// byName describes topics in the order of the request, each once.
func (h *metadata) byName(ctx context.Context, d *topicDescriber, topics []kmsg.MetadataRequestTopic, mayCreate bool) []kmsg.MetadataResponseTopic {
	out := make([]kmsg.MetadataResponseTopic, 0, len(topics))
	seen := make(map[string]bool, len(topics))
	created := 0
	for _, t := range topics {
		name := *t.Topic
		if seen[name] {
			continue
		}
		seen[name] = true
		if known, ok := d.snapshot.Topic(name); ok {
			out = append(out, d.topic(known))
			continue
		}
		code := kerr.LeaderNotAvailable.Code // as if it were in the making: the client asks again
		if created < maxAutoCreated || !mayCreate {
			code = h.missing(ctx, name, mayCreate)
			created++
		}
		unknown := newMetadataTopic(code)
		unknown.Topic = &name
		unknown.IsInternal = protocol.IsInternalTopic(name)
		out = append(out, unknown)
	}
	return out
}

// maxAutoCreated bounds how many topics one request makes by naming them.
const maxAutoCreated = 1000

// missing is the code for a topic that does not exist, and makes it if it may:
// the client will ask again.
func (h *metadata) missing(ctx context.Context, name string, mayCreate bool) int16 {
	if protocol.ValidateTopicName(name) != nil {
		return kerr.InvalidTopicException.Code
	}
	if !mayCreate {
		return kerr.UnknownTopicOrPartition.Code
	}
	err := h.topics.AutoCreate(ctx, name)
	if err == nil || errors.Is(err, kerr.TopicAlreadyExists) || errors.Is(err, kerr.RequestTimedOut) {
		return kerr.LeaderNotAvailable.Code
	}
	return h.codes.of(err)
}

// topicDescriber turns topics of a snapshot into what clients on a listener
// see.
type topicDescriber struct {
	snapshot *cluster.Snapshot
	listener string
	version  int16
}

// byID describes topics by their ids; names in such a request are ignored.
func (d *topicDescriber) byID(topics []kmsg.MetadataRequestTopic) []kmsg.MetadataResponseTopic {
	out := make([]kmsg.MetadataResponseTopic, 0, len(topics))
	seen := make(map[protocol.TopicID]bool, len(topics))
	for _, t := range topics {
		if seen[t.TopicID] || t.TopicID == [16]byte{} {
			continue
		}
		seen[t.TopicID] = true
		if known, ok := d.snapshot.TopicByID(t.TopicID); ok {
			out = append(out, d.topic(known))
			continue
		}
		unknown := newMetadataTopic(kerr.UnknownTopicID.Code)
		unknown.TopicID = t.TopicID
		out = append(out, unknown)
	}
	return out
}

func (d *topicDescriber) topic(t *cluster.Topic) kmsg.MetadataResponseTopic {
	out := newMetadataTopic(0)
	out.Topic = &t.Name
	out.TopicID = t.ID
	out.IsInternal = protocol.IsInternalTopic(t.Name)
	out.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for i := range t.Partitions {
		out.Partitions[i] = d.partition(&t.Partitions[i])
	}
	return out
}

func (d *topicDescriber) partition(p *cluster.Partition) kmsg.MetadataResponseTopicPartition {
	out := kmsg.NewMetadataResponseTopicPartition()
	out.Partition = p.ID
	out.Leader = p.Leader
	out.LeaderEpoch = p.LeaderEpoch
	out.Replicas = p.Replicas
	out.ISR = p.ISR
	out.OfflineReplicas = p.OfflineReplicas
	if d.version == 0 {
		// The first version lists only brokers that it can also describe.
		out.Replicas, out.ISR = d.alive(p.Replicas), d.alive(p.ISR)
	}
	if _, _, ok := reachable(d.snapshot, p.Leader, d.listener); !ok {
		out.Leader = -1
		out.ErrorCode = kerr.LeaderNotAvailable.Code
		if _, alive := d.snapshot.Broker(p.Leader); alive && d.version >= 6 {
			out.ErrorCode = kerr.ListenerNotFound.Code
		}
	} else if len(out.Replicas) < len(p.Replicas) || len(out.ISR) < len(p.ISR) {
		out.ErrorCode = kerr.ReplicaNotAvailable.Code
	}
	return out
}

func (d *topicDescriber) alive(ids []int32) []int32 {
	out := make([]int32, 0, len(ids))
	for _, id := range ids {
		if _, _, ok := reachable(d.snapshot, id, d.listener); ok {
			out = append(out, id)
		}
	}
	return out
}
