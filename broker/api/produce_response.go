package api

import (
	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/protocol/record"
)

// producePartition is the outcome for one partition.
type producePartition struct {
	partition     int32
	code          int16
	baseOffset    int64 // −1 after an error
	appendTimeMS  int64 // −1 unless the topic's timestamps are the broker's
	logStart      int64 // −1 if not known
	recordErrors  []record.RecordError
	message       *string
	currentLeader leaderHint // who leads, for a client that asked the wrong broker (KIP-951)
}

// leaderHint names the leader of a partition; a hint with epoch below 0 is not
// written.
type leaderHint struct{ id, epoch int32 }

var noHint = leaderHint{-1, -1}

// produceResponse writes a Produce response into a reply while the request is
// being walked: the two have the same topics and partitions in the same order.
type produceResponse struct {
	reply    *server.Reply
	version  int16
	flexible bool
}

func newProduceResponse(reply *server.Reply, version int16, topics int) produceResponse {
	w := produceResponse{reply: reply, version: version, flexible: version >= 9}
	reply.Buf = appendArray(reply.Buf, topics, w.flexible)
	return w
}

func (w *produceResponse) beginTopic(name []byte, partitions int) {
	b := appendString(w.reply.Buf, name, w.flexible)
	w.reply.Buf = appendArray(b, partitions, w.flexible)
}

func (w *produceResponse) endTopic() { w.reply.Buf = appendTags(w.reply.Buf, w.flexible) }

// partition writes one partition. It returns where in the reply's bytes the
// error code stands, for setError.
func (w *produceResponse) partition(p *producePartition) (codeAt int) {
	b := appendInt32(w.reply.Buf, p.partition)
	codeAt = len(b)
	b = appendInt16(b, p.code)
	b = appendInt64(b, p.baseOffset)
	if w.version >= 2 {
		b = appendInt64(b, p.appendTimeMS)
	}
	if w.version >= 5 {
		b = appendInt64(b, p.logStart)
	}
	if w.version >= 8 {
		b = appendArray(b, len(p.recordErrors), w.flexible)
		for i := range p.recordErrors {
			e := &p.recordErrors[i]
			b = appendInt32(b, e.BatchIndex)
			b = appendNullableString(b, &e.Message, w.flexible)
			b = appendTags(b, w.flexible)
		}
		b = appendNullableString(b, p.message, w.flexible)
	}
	if w.version >= 10 && p.currentLeader.epoch >= 0 {
		b = append(b, 1, 0, 9) // one tagged field: 0, of nine bytes
		b = appendInt32(b, p.currentLeader.id)
		b = appendInt32(b, p.currentLeader.epoch)
		b = append(b, 0)
	} else {
		b = appendTags(b, w.flexible)
	}
	w.reply.Buf = b
	return codeAt
}

// end writes what follows the topics. nodes are the leaders that hints name.
func (w *produceResponse) end(nodes []nodeEndpoint) {
	if w.version >= 1 {
		w.reply.ThrottleAt = len(w.reply.Buf)
		w.reply.Buf = appendInt32(w.reply.Buf, 0)
	}
	if w.version >= 10 {
		w.reply.Buf = appendNodeEndpoints(w.reply.Buf, nodes)
	} else {
		w.reply.Buf = appendTags(w.reply.Buf, w.flexible)
	}
}

// nodeEndpoint is where a broker that a leader hint names can be reached.
type nodeEndpoint struct {
	id   int32
	host string
	port int32
	rack *string
}

// appendNodeEndpoints writes the tagged fields that end a Produce or Fetch
// response: field 0, or none if there are no nodes.
func appendNodeEndpoints(b []byte, nodes []nodeEndpoint) []byte {
	if len(nodes) == 0 {
		return append(b, 0)
	}
	var field []byte
	field = appendUvarint(field, len(nodes)+1)
	for _, n := range nodes {
		field = appendInt32(field, n.id)
		field = appendString(field, n.host, true)
		field = appendInt32(field, n.port)
		field = appendNullableString(field, n.rack, true)
		field = append(field, 0)
	}
	b = append(b, 1, 0)
	b = appendUvarint(b, len(field))
	return append(b, field...)
}
