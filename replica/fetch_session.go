package replica

import (
	"iter"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
)

// lastFetchWithNames is the last version of Fetch that names topics and does not
// need their ids. The others are those of inter.broker.protocol.version 3.9.
const (
	lastFetchWithNames = 12
	lastFetch          = 17
	lastListOffsets    = 9
)

// Session epochs with a meaning of their own (KIP-227).
const (
	sessionInitial int32 = 0
	sessionFirst   int32 = 1
)

// fetchSession is a follower's side of a fetch session: which partitions the
// leader knows to be fetched, and where from, so that a request names only those
// of which that has changed. A partition without news costs nothing.
//
// It belongs to the goroutine of its fetcher.
type fetchSession struct {
	id, epoch int32
	byName    bool // some topic has no id: all are named

	fresh   []*copied                // to be named in the next request, if still queued
	dropped map[fetchTarget]struct{} // in the session, to be forgotten
	size    int                      // partitions in the session
	queued  int                      // partitions to be named

	req    kmsg.FetchRequest // reused
	topics map[topicKey]int  // of req
}

// fetchTarget is a partition as requests name it: by its topic's id, or by name.
type fetchTarget struct {
	topicKey
	partition int32
}

type topicKey struct {
	id    protocol.TopicID
	topic string // only if there is no id
}

// copied is a partition that a fetcher copies from its leader, in one role.
type copied struct {
	p      *Partition
	role   *role
	id     protocol.TopicID // zero if the topic has none
	target fetchTarget
	at     position // as the leader has been told, if inSession
	// inSession: the leader knows that it is wanted. queued: it is in fresh.
	inSession, queued bool
	failures          int // in a row
}

func newFetchSession() fetchSession {
	return fetchSession{dropped: map[fetchTarget]struct{}{}, topics: map[topicKey]int{}}
}

// want has a partition named in the next request, because it is new or stands
// somewhere else than before.
func (s *fetchSession) want(c *copied) {
	if !c.queued {
		c.queued = true
		s.queued++
		s.fresh = append(s.fresh, c)
	}
}

// forget takes a partition out of the session, if it is in.
func (s *fetchSession) forget(c *copied) {
	if c.queued {
		c.queued = false
		s.queued--
	}
	if c.inSession {
		c.inSession = false
		s.size--
		s.dropped[c.target] = struct{}{}
	}
}

// reset begins a new session with the partitions given. The leader drops the old
// one when it sees its id.
func (s *fetchSession) reset(all iter.Seq[*copied]) {
	s.epoch = sessionInitial
	clear(s.fresh)
	clear(s.dropped)
	s.fresh, s.size, s.queued = s.fresh[:0], 0, 0
	for c := range all {
		c.inSession, c.queued = false, false
		s.want(c)
	}
}

// empty reports whether the next request would ask for nothing.
func (s *fetchSession) empty() bool { return s.size == 0 && s.queued == 0 }

// request returns the next request. It is valid until the next call.
func (s *fetchSession) request(broker int32, brokerEpoch int64, settings *config.Replication) *kmsg.FetchRequest {
	req := &s.req
	req.Version = lastFetch
	if s.byName {
		req.Version = lastFetchWithNames
	}
	req.ReplicaID = broker
	req.ReplicaState = kmsg.FetchRequestReplicaState{ID: broker, Epoch: brokerEpoch}
	req.MaxWaitMillis = int32(settings.FetchWait.Milliseconds())
	req.MinBytes, req.MaxBytes = settings.FetchMinBytes, settings.ResponseMaxBytes
	req.SessionID, req.SessionEpoch = s.id, s.epoch
	s.nameFresh(settings.FetchMaxBytes)
	s.nameDropped()
	return req
}

// nameFresh lists what the leader does not know yet.
func (s *fetchSession) nameFresh(maxBytes int32) {
	req := &s.req
	req.Topics = req.Topics[:0]
	clear(s.topics)
	for i, c := range s.fresh {
		s.fresh[i] = nil
		if !c.queued {
			continue // forgotten since, or named above
		}
		c.queued = false
		c.at = c.role.position()
		if !c.inSession {
			c.inSession = true
			s.size++
			delete(s.dropped, c.target) // it is back, in another role
		}
		q := kmsg.NewFetchRequestTopicPartition()
		q.Partition, q.CurrentLeaderEpoch, q.FetchOffset = c.target.partition, c.at.leaderEpoch, c.at.offset
		q.LastFetchedEpoch, q.LogStartOffset, q.PartitionMaxBytes = c.at.lastEpoch, c.at.start, maxBytes
		t := s.topicOf(c)
		t.Partitions = append(t.Partitions, q)
	}
	s.fresh, s.queued = s.fresh[:0], 0
}

// topicOf returns the entry of a partition's topic in the request. Entries are
// reused, with their lists.
func (s *fetchSession) topicOf(c *copied) *kmsg.FetchRequestTopic {
	topics := s.req.Topics
	n, ok := s.topics[c.target.topicKey]
	if !ok {
		n = len(topics)
		s.topics[c.target.topicKey] = n
		if n < cap(topics) {
			topics = topics[:n+1]
		} else {
			topics = append(topics, kmsg.FetchRequestTopic{})
		}
		t := &topics[n]
		t.Topic, t.TopicID, t.Partitions = c.p.tp.Topic, c.target.id, t.Partitions[:0]
		s.req.Topics = topics
	}
	return &topics[n]
}

// nameDropped lists what the session is to forget; a new one knows nothing.
func (s *fetchSession) nameDropped() {
	req := &s.req
	req.ForgottenTopics = req.ForgottenTopics[:0]
	if s.epoch != sessionInitial {
		for target := range s.dropped {
			t := kmsg.NewFetchRequestForgottenTopic()
			t.Topic, t.TopicID, t.Partitions = target.topic, target.id, []int32{target.partition}
			req.ForgottenTopics = append(req.ForgottenTopics, t)
		}
	}
	clear(s.dropped)
}

// answered notes that the leader has answered the request, and which session it
// keeps, 0 if none.
func (s *fetchSession) answered(id int32) {
	switch {
	case id == 0:
		s.id, s.epoch = 0, sessionInitial
	case s.epoch == sessionInitial:
		s.id, s.epoch = id, sessionFirst
	case s.epoch == math.MaxInt32:
		s.epoch = sessionFirst
	default:
		s.epoch++
	}
}
