package api

import (
	"github.com/gracchus-mq/gracchus/protocol"
)

// fetchRequest is a Fetch request that is read where it lies: decode walks all
// of it once, the iterations after that cannot fail.
//
//	for f.nextTopic() {
//		for f.nextPartition() {
//			use(f.topic, f.topicID, f.partition)
//		}
//	}
//	for f.nextForgottenTopic() {
//		for f.nextForgotten() {
//			use(f.topic, f.topicID, f.partition.partition)
//		}
//	}
type fetchRequest struct {
	version       int16
	replicaID     int32 // −1 for a consumer
	replicaEpoch  int64 // −1 unless a follower says it
	maxWaitMS     int32
	minBytes      int32
	maxBytes      int32
	readCommitted bool
	sessionID     int32
	sessionEpoch  int32
	rack          []byte
	allPartitions int // in all topics, without the forgotten ones

	// The current element. A topic has a name before version 13 and an id from
	// it on. Slices alias the request.
	topic     []byte
	topicID   protocol.TopicID
	partition fetchPartition

	r              wireReader // of the topics
	forgotten      wireReader
	topicsLeft     int
	partitionsLeft int
	forgottenLeft  int
}

// fetchPartition is what a Fetch request wants of one partition.
type fetchPartition struct {
	partition          int32
	currentLeaderEpoch int32 // −1: unchecked
	offset             int64
	lastFetchedEpoch   int32 // −1: not said
	logStart           int64 // −1 for a consumer
	maxBytes           int32
}

// Least sizes, in any version, of the elements of the request's arrays.
const (
	leastFetchTopic     = 2
	leastFetchPartition = 16
	leastForgottenTopic = 2
	leastPartitionIndex = 4
)

// Values of fields that a version does not have.
const (
	noSession      = 0
	noSessionEpoch = -1
)

func (f *fetchRequest) decode(version int16, body []byte) error {
	*f = fetchRequest{version: version, replicaID: -1, replicaEpoch: -1, maxBytes: 1<<31 - 1,
		sessionID: noSession, sessionEpoch: noSessionEpoch,
		r: wireReader{b: body, flexible: version >= 12}}
	r := &f.r
	if version < 15 {
		f.replicaID = r.int32()
	}
	f.maxWaitMS = r.int32()
	f.minBytes = r.int32()
	if version >= 3 {
		f.maxBytes = r.int32()
	}
	if version >= 4 {
		f.readCommitted = r.int8() == 1
	}
	if version >= 7 {
		f.sessionID = r.int32()
		f.sessionEpoch = r.int32()
	}
	f.topicsLeft = r.array(leastFetchTopic)
	topics, topicsLeft := *r, f.topicsLeft
	for f.nextTopic() {
		for f.nextPartition() {
			f.allPartitions++
		}
	}
	f.forgotten = wireReader{flexible: r.flexible}
	forgottenLeft, allForgotten := 0, 0
	if version >= 7 {
		forgottenLeft = r.array(leastForgottenTopic)
		f.forgotten, f.forgottenLeft = *r, forgottenLeft
		for f.nextForgottenTopic() {
			for f.nextForgotten() {
				allForgotten++
			}
		}
		end := f.forgotten
		f.forgotten, *r = *r, end
	}
	if version >= 11 {
		f.rack = r.string()
	}
	if r.tags(f.tag); r.bad {
		return errMalformed
	}
	if n := topicsLeft + f.allPartitions + forgottenLeft + allForgotten; n > maxElements {
		return tooManyElements(n)
	}
	f.r, f.topicsLeft, f.forgottenLeft = topics, topicsLeft, forgottenLeft
	return nil
}

// tag reads the tagged fields of the request: 0 is the cluster id, which only
// KRaft uses, 1 the follower's state, which Kafka refuses where there is none yet.
func (f *fetchRequest) tag(tag int, b []byte) bool {
	r := wireReader{b: b, flexible: true}
	switch {
	case tag == 0:
		r.nullableString()
	case tag == 1 && f.version < 15:
		return false
	case tag == 1:
		f.replicaID, f.replicaEpoch = r.int32(), r.int64()
		r.tags(nil)
	}
	return !r.bad
}

func (f *fetchRequest) nextTopic() bool {
	if f.r.bad || f.topicsLeft == 0 {
		return false
	}
	f.topicsLeft--
	f.readTopic(&f.r)
	f.partitionsLeft = f.r.array(leastFetchPartition)
	if f.partitionsLeft == 0 {
		f.r.tags(nil)
	}
	return !f.r.bad
}

func (f *fetchRequest) readTopic(r *wireReader) {
	if f.version >= 13 {
		f.topicID = r.topicID()
	} else {
		f.topic = r.string()
	}
}

func (f *fetchRequest) nextPartition() bool {
	if f.r.bad || f.partitionsLeft == 0 {
		return false
	}
	f.partitionsLeft--
	r := &f.r
	p := &f.partition
	*p = fetchPartition{currentLeaderEpoch: -1, lastFetchedEpoch: -1, logStart: -1}
	p.partition = r.int32()
	if f.version >= 9 {
		p.currentLeaderEpoch = r.int32()
	}
	p.offset = r.int64()
	if f.version >= 12 {
		p.lastFetchedEpoch = r.int32()
	}
	if f.version >= 5 {
		p.logStart = r.int64()
	}
	p.maxBytes = r.int32()
	r.tags(nil)
	if f.partitionsLeft == 0 {
		r.tags(nil) // of the topic
	}
	return !r.bad
}

func (f *fetchRequest) nextForgottenTopic() bool {
	if f.forgotten.bad || f.forgottenLeft == 0 {
		return false
	}
	f.forgottenLeft--
	f.readTopic(&f.forgotten)
	f.partitionsLeft = f.forgotten.array(leastPartitionIndex)
	if f.partitionsLeft == 0 {
		f.forgotten.tags(nil)
	}
	return !f.forgotten.bad
}

// nextForgotten moves to the next partition that the session is to forget; only
// partition.partition is set.
func (f *fetchRequest) nextForgotten() bool {
	if f.forgotten.bad || f.partitionsLeft == 0 {
		return false
	}
	f.partitionsLeft--
	f.partition = fetchPartition{partition: f.forgotten.int32()}
	if f.partitionsLeft == 0 {
		f.forgotten.tags(nil)
	}
	return !f.forgotten.bad
}
