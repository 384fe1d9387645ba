package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/protocol/record"
)

// lane is an idempotent producer of one partition with acks=all. It has up to window
// batches on their way and begins again with the first that was not acknowledged, on
// another connection, whenever anything goes wrong.
type lane struct {
	s         *simulation
	number    uint32
	partition int32
	rnd       *rand.Rand
	id        int64
	wire      wire

	mu     sync.Mutex
	sent   []sentBatch
	acked  int // batches, all before the others
	gaps   int // how often in a row the first of the others was out of order
	last   error
	failed map[string]int
}

// sentBatch holds records first to first+count−1 of its lane.
type sentBatch struct {
	bytes  []byte
	first  uint32
	count  int32
	offset int64 // of the first record, once it is acknowledged; −1 if that was never said
}

func newLane(s *simulation, number uint32, partition int32) *lane {
	return &lane{s: s, number: number, partition: partition, rnd: s.random(1000 + uint64(number)), wire: wire{process: s.clients}, failed: map[string]int{}}
}

const window = 4

// run produces until stop is closed, and then until everything is acknowledged.
func (l *lane) run(stop <-chan struct{}) {
	defer l.wire.close()
	for l.init() != nil && !closed(l.s.abandoned) {
		time.Sleep(time.Duration(50+l.rnd.IntN(200)) * time.Millisecond)
	}
	for {
		done, err := l.burst(stop)
		if done {
			return
		}
		l.wire.close()
		l.mu.Lock()
		l.last = err
		l.failed[err.Error()]++
		l.mu.Unlock()
		time.Sleep(time.Duration(20+l.rnd.IntN(200)) * time.Millisecond)
		if closed(l.s.abandoned) {
			return
		}
	}
}

func (l *lane) init() error {
	req := kmsg.NewPtrInitProducerIDRequest()
	answer, err := l.wire.ask(l.anyBroker(), req, wireInitProducer, 3*time.Second)
	if err != nil {
		return err
	}
	resp := answer.(*kmsg.InitProducerIDResponse)
	l.id = resp.ProducerID
	return kerr.ErrorForCode(resp.ErrorCode)
}

func (l *lane) anyBroker() int32 { return 1 + l.rnd.Int32N(3) }

// burst produces over one connection until something goes wrong, or all is done.
func (l *lane) burst(stop <-chan struct{}) (done bool, err error) {
	found, err := l.wire.leaders(l.anyBroker())
	if err != nil {
		return false, err
	}
	leader := found[l.partition].leader
	if leader < 1 {
		return false, fmt.Errorf("partition %d has no leader", l.partition)
	}
	if err := l.wire.open(leader); err != nil {
		return false, err
	}
	if l.gaps >= 3 {
		if err := l.skip(); err != nil {
			return false, err
		}
	}
	next := l.acked // of what is sent over this connection
	for {
		stopping := closed(stop)
		for next-l.acked < window && (next < len(l.sent) || !stopping) {
			if next == len(l.sent) {
				l.prepare()
			}
			if err := l.wire.send(l.request(l.sent[next].bytes)); err != nil {
				return false, err
			}
			next++
			if l.rnd.IntN(3) == 0 {
				break
			}
		}
		if next == l.acked {
			return true, nil
		}
		if err := l.receive(); err != nil {
			return false, err
		}
		if !stopping {
			time.Sleep(time.Duration(l.rnd.ExpFloat64() * float64(laneRest)))
		}
	}
}

// laneRest is how long a lane rests between two batches, on the average.
const laneRest = 300 * time.Millisecond

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// prepare makes another batch.
func (l *lane) prepare() {
	var first uint32
	if n := len(l.sent); n > 0 {
		first = l.sent[n-1].first + uint32(l.sent[n-1].count)
	}
	b := record.NewBuilder().SetProducer(l.id, 0, int32(first))
	count := 1 + l.rnd.Int32N(3)
	for i := range uint32(count) {
		value := make([]byte, 8+l.rnd.IntN(60))
		binary.BigEndian.PutUint32(value, l.number)
		binary.BigEndian.PutUint32(value[4:], first+i)
		b.Append(time.Now().UnixMilli(), nil, value)
	}
	bytes, err := b.Build()
	if err != nil {
		panic(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, sentBatch{bytes: bytes, first: first, count: count, offset: -1})
}

func (l *lane) request(batch []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = wireProduce, -1, 2000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = simTopic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = l.partition, batch
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	return req
}

// receive takes the answer to the first batch that is not acknowledged.
func (l *lane) receive() error {
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = wireProduce
	if err := l.wire.receive(resp, 3*time.Second); err != nil {
		return err
	}
	p := resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		if errors.Is(err, kerr.OutOfOrderSequenceNumber) {
			l.gaps++
		}
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[l.acked].offset = p.BaseOffset
	l.acked++
	l.gaps = 0
	return nil
}

// skip sends the last batch instead of the first. As in Kafka, whose files these are, a
// snapshot of the producers has no more than the last batch of each; after a start from it
// a batch before that is out of order, not a duplicate. If the last is one, all are there.
func (l *lane) skip() error {
	l.mu.Lock()
	acked, last := l.acked, len(l.sent)-1
	l.acked = last
	l.mu.Unlock()
	err := l.wire.send(l.request(l.sent[last].bytes))
	if err == nil {
		err = l.receive()
	}
	if err != nil {
		l.mu.Lock()
		l.acked, l.gaps = acked, 0
		l.mu.Unlock()
	}
	return err
}

// acknowledged is how many batches were, so far.
func (l *lane) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked
}

// rest says what was not acknowledged, "" if nothing.
func (l *lane) rest() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.acked == len(l.sent) {
		return ""
	}
	return fmt.Sprintf("producer %d of partition %d has %d of %d batches acknowledged; last error: %v; all: %v", l.number, l.partition, l.acked, len(l.sent), l.last, l.failed)
}
