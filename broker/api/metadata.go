package api

import (
	"bytes"
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
	bodies    metadataBodies
}

func (h *metadata) handle(ctx context.Context, r *server.Request) error {
	m, err := decode(ctx, r, maxElements)
	if err != nil {
		return err
	}
	req := m.(*kmsg.MetadataRequest)
	w := metadataWriter{snapshot: h.view.Snapshot(), listener: r.Listener.Name, version: r.Header.Version, flexible: r.Header.Version >= 9}
	reply := r.NewReply()
	if w.version >= 3 {
		reply.ThrottleAt = len(reply.Buf)
		reply.Buf = appendInt32(reply.Buf, 0)
	}
	if code := checkMetadataTopics(w.version, req.Topics); code != 0 {
		reply.Buf = w.refusal(reply.Buf, req.Topics, code)
		r.Send(reply)
		return nil
	}
	w.topicOperations = w.version >= 8 && req.IncludeTopicAuthorizedOperations
	w.clusterOperations = w.version >= 8 && w.version <= 10 && req.IncludeClusterAuthorizedOperations
	switch {
	case req.Topics == nil || w.version == 0 && len(req.Topics) == 0:
		err = appendShared(reply, h.bodies.all(&w, h.clusterID))
	case slices.ContainsFunc(req.Topics, func(t kmsg.MetadataRequestTopic) bool { return t.TopicID != [16]byte{} }):
		reply.Buf = w.byID(w.head(reply.Buf, h.clusterID), req.Topics)
	default:
		mayCreate := h.settings.Broker().Topics.AutoCreate && (w.version < 4 || req.AllowAutoTopicCreation)
		reply.Buf = h.byName(ctx, &w, w.head(reply.Buf, h.clusterID), req.Topics, mayCreate)
	}
	if err != nil {
		reply.Discard()
		return err
	}
	r.Send(reply)
	return nil
}

// appendShared puts bytes that others read, too, behind the reply.
func appendShared(reply *server.Reply, b []byte) error {
	return reply.AppendRange(server.Range{File: bytes.NewReader(b), Len: len(b)})
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

// byName describes topics in the order of the request, each once.
func (h *metadata) byName(ctx context.Context, w *metadataWriter, b []byte, topics []kmsg.MetadataRequestTopic, mayCreate bool) []byte {
	names := make([]string, 0, len(topics))
	seen := make(map[string]bool, len(topics))
	for _, t := range topics {
		if !seen[*t.Topic] {
			seen[*t.Topic] = true
			names = append(names, *t.Topic)
		}
	}
	b = appendArray(b, len(names), w.flexible)
	created := 0
	for _, name := range names {
		if known, ok := w.snapshot.Topic(name); ok {
			b = w.topic(b, known)
			continue
		}
		code := kerr.LeaderNotAvailable.Code // as if it were in the making: the client asks again
		if created < maxAutoCreated || !mayCreate {
			code = h.missing(ctx, name, mayCreate)
			created++
		}
		b = w.noTopic(b, code, &name, protocol.TopicID{})
	}
	return w.end(b)
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
