package api

// produceRequest is a Produce request that is read where it lies. decode walks
// all of it once, so that a malformed request has no effect at all; the
// iteration after that cannot fail.
//
//	for p.nextTopic() {
//		for p.nextPartition() {
//			use(p.topic, p.partition, p.records)
//		}
//	}
type produceRequest struct {
	version         int16
	transactionalID []byte // nil if null
	acks            int16
	timeoutMS       int32
	topics          int // number of topics that have partitions
	allPartitions   int // number of partitions of all topics
	recordBytes     int // of all partitions

	// The current element; topic and records alias the request.
	topic      []byte
	partitions int // number of partitions of topic
	partition  int32
	records    []byte // nil if null

	r              wireReader
	topicsLeft     int
	partitionsLeft int
}

// Least sizes, in any version, of a topic and a partition in the request.
const (
	leastProduceTopic     = 2
	leastProducePartition = 5
)

func (p *produceRequest) decode(version int16, body []byte) error {
	*p = produceRequest{version: version, r: wireReader{b: body, flexible: version >= 9}}
	if version >= 3 {
		p.transactionalID = p.r.nullableString()
	}
	p.acks = p.r.int16()
	p.timeoutMS = p.r.int32()
	p.topicsLeft = p.r.array(leastProduceTopic)
	start := *p
	for p.nextTopic() {
		p.allPartitions += p.partitions
		if p.partitions > 0 {
			p.topics++
		}
		for p.nextPartition() {
			p.recordBytes += len(p.records)
		}
	}
	if p.r.tags(nil); p.r.bad {
		return errMalformed
	}
	if n := start.topicsLeft + p.allPartitions; n > maxElements {
		return tooManyElements(n)
	}
	start.topics, start.allPartitions, start.recordBytes = p.topics, p.allPartitions, p.recordBytes
	*p = start
	return nil
}

// nextTopic moves to the next topic; the partitions of the one before have been
// walked.
func (p *produceRequest) nextTopic() bool {
	if p.r.bad || p.topicsLeft == 0 {
		return false
	}
	p.topicsLeft--
	p.topic = p.r.string()
	p.partitions = p.r.array(leastProducePartition)
	p.partitionsLeft = p.partitions
	if p.partitions == 0 {
		p.r.tags(nil)
	}
	return !p.r.bad
}

// nextPartition moves to the next partition of the topic.
func (p *produceRequest) nextPartition() bool {
	if p.r.bad || p.partitionsLeft == 0 {
		return false
	}
	p.partitionsLeft--
	p.partition = p.r.int32()
	p.records = p.r.nullableBytes()
	p.r.tags(nil)
	if p.partitionsLeft == 0 {
		p.r.tags(nil) // of the topic
	}
	return !p.r.bad
}
