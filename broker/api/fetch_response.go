package api

import (
	"encoding/binary"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

// fetchResult is one partition of a Fetch response.
type fetchResult struct {
	topic     string           // before version 13
	topicID   protocol.TopicID // from version 13 on
	partition int32

	code          int16
	highWatermark int64
	lastStable    int64
	logStart      int64
	// diverging tells a follower where its log parts from the leader's; an epoch
	// below 0 is not written.
	divergingEpoch     int32
	divergingEndOffset int64
	currentLeader      leaderHint
	// aborted lists the transactions to skip. It is nil for read_uncommitted,
	// which the protocol tells from an empty list.
	aborted          []commitlog.AbortedTxn
	preferredReplica int32
	records          server.Range // Len 0: none
	noRecords        bool         // null in their place, before version 12
}

func (r *fetchResult) sameTopic(o *fetchResult) bool {
	return r.topic == o.topic && r.topicID == o.topicID
}

// appendFetchResponse writes a Fetch response. Neighbours of the same topic share
// a topic entry, as in Kafka. It takes over the ranges. failed, if not nil, is
// the error of reading a range; that partition then has errorCode and no
// records.
func appendFetchResponse(reply *server.Reply, version, code int16, sessionID int32, results []fetchResult, nodes []nodeEndpoint,
	failed func(r *fetchResult, err error) (errorCode int16)) {
	flexible := version >= 12
	b := reply.Buf
	if version >= 1 {
		reply.ThrottleAt = len(b)
		b = appendInt32(b, 0)
	}
	if version >= 7 {
		b = appendInt16(b, code)
		b = appendInt32(b, sessionID)
	}
	reply.Buf = appendArray(b, countTopics(results), flexible)
	for i := 0; i < len(results); {
		n := 1
		for i+n < len(results) && results[i].sameTopic(&results[i+n]) {
			n++
		}
		if version >= 13 {
			reply.Buf = append(reply.Buf, results[i].topicID[:]...)
		} else {
			reply.Buf = appendString(reply.Buf, results[i].topic, flexible)
		}
		reply.Buf = appendArray(reply.Buf, n, flexible)
		for j := range results[i : i+n] {
			r := &results[i+j]
			start := len(reply.Buf)
			if err := appendFetchPartition(reply, version, r); err != nil {
				reply.TruncateTo(start)
				r.code = failed(r, err)
				r.records = server.Range{}
				appendFetchPartition(reply, version, r) // cannot fail without a range
			}
		}
		reply.Buf = appendTags(reply.Buf, flexible)
		i += n
	}
	if version >= 16 {
		reply.Buf = appendNodeEndpoints(reply.Buf, nodes)
	} else {
		reply.Buf = appendTags(reply.Buf, flexible)
	}
}

func countTopics(results []fetchResult) int {
	n := 0
	for i := range results {
		if i == 0 || !results[i].sameTopic(&results[i-1]) {
			n++
		}
	}
	return n
}

func appendFetchPartition(reply *server.Reply, version int16, r *fetchResult) error {
	flexible := version >= 12
	b := appendInt32(reply.Buf, r.partition)
	b = appendInt16(b, r.code)
	b = appendInt64(b, r.highWatermark)
	if version >= 4 {
		b = appendInt64(b, r.lastStable)
	}
	if version >= 5 {
		b = appendInt64(b, r.logStart)
	}
	if version >= 4 {
		b = appendAborted(b, r.aborted, flexible)
	}
	if version >= 11 {
		b = appendInt32(b, r.preferredReplica)
	}
	// Kafka writes no records as an empty field, and as null only to a client whose
	// version is too old for them.
	switch {
	case flexible:
		b = appendUvarint(b, r.records.Len+1)
	case r.noRecords:
		b = appendInt32(b, -1)
	default:
		b = appendInt32(b, int32(r.records.Len))
	}
	reply.Buf = b
	if r.records.Len > 0 {
		if err := reply.AppendRange(r.records); err != nil {
			return err
		}
	}
	if flexible {
		reply.Buf = appendFetchTags(reply.Buf, r)
	}
	return nil
}

func appendAborted(b []byte, aborted []commitlog.AbortedTxn, flexible bool) []byte {
	if aborted == nil {
		if flexible {
			return append(b, 0)
		}
		return appendInt32(b, -1)
	}
	b = appendArray(b, len(aborted), flexible)
	for _, a := range aborted {
		b = appendInt64(b, a.ProducerID)
		b = appendInt64(b, a.FirstOffset)
		b = appendTags(b, flexible)
	}
	return b
}

// appendFetchTags writes a partition's tagged fields: 0 the diverging epoch, 1
// the current leader.
func appendFetchTags(b []byte, r *fetchResult) []byte {
	countAt := len(b)
	b = append(b, 0)
	if r.divergingEpoch >= 0 {
		b[countAt]++
		b = append(b, 0, 13)
		b = appendInt32(b, r.divergingEpoch)
		b = binary.BigEndian.AppendUint64(b, uint64(r.divergingEndOffset))
		b = append(b, 0)
	}
	if r.currentLeader.epoch >= 0 {
		b[countAt]++
		b = append(b, 1, 9)
		b = appendInt32(b, r.currentLeader.id)
		b = appendInt32(b, r.currentLeader.epoch)
		b = append(b, 0)
	}
	return b
}
