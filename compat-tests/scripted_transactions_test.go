package compat

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

const (
	scriptedTopic      = "scripted"
	scriptedPartitions = 3
	scriptedGroup      = "scripted-group"
)

// script has four transactional producers, and one that is not, write to a topic. It is the
// same with each broker, for a seed, and keeps what the broker has said.
type script struct {
	t       *testing.T
	client  *kgo.Client
	broker  kmsg.Requestor // the broker itself
	rng     *rand.Rand
	writers [4]*scriptedProducer
	said    []string
}

type scriptedProducer struct {
	*bareProducer
	added map[int32]bool // partitions in its transaction
	open  bool
	begun bool // any transaction
}

func (s *script) say(format string, args ...any) {
	s.said = append(s.said, fmt.Sprintf("%d: ", len(s.said))+fmt.Sprintf(format, args...))
}

// runScript runs so many steps of the script of a seed and returns what was said: the
// offsets of batches, after each step what is stable and committed, in the end what each
// fetch returns. Some transactions are left open. (Nothing is produced that is refused: for
// that Kafka may begin a new segment, and the files would not be the same.)
func runScript(t *testing.T, b *harness.Broker, seed uint64, steps int) []string {
	t.Helper()
	createTopic(t, b, scriptedTopic, scriptedPartitions, map[string]string{"segment.bytes": "3000", "index.interval.bytes": "300"})
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.Fetch), 12) // by the names of topics
	client := franz(t, b, kgo.MaxVersions(versions))
	s := &script{t: t, client: client, broker: client.SeedBrokers()[0], rng: rand.New(rand.NewPCG(seed, 1))}
	waitUntil(t, "the group has a coordinator", func() bool {
		_, err := kadm.NewClient(client).FetchOffsets(within(t, 20*time.Second), scriptedGroup)
		return err == nil
	})
	for i := range s.writers {
		s.come(i)
	}
	for range steps {
		s.step()
		s.sayOffsets()
	}
	s.timeOut()
	for _, p := range s.writers {
		if !p.begun { // Kafka would tell, until it is started anew, when the transaction of the one before began
			s.send(p, 0)
		}
	}
	s.sayOffsets()
	for p := range int32(scriptedPartitions) {
		s.sayFetches(p)
	}
	return s.said
}

// come has the next of those come who have the same transactional id.
func (s *script) come(i int) {
	s.t.Helper()
	p := newBareProducer(s.t, s.client, fmt.Sprintf("scripted-%d", i), 15*time.Minute)
	s.writers[i] = &scriptedProducer{bareProducer: p, added: map[int32]bool{}}
	s.say("%s is %d, epoch %d", p.name, p.id, p.epoch)
}

func (s *script) step() {
	s.t.Helper()
	i := s.rng.IntN(len(s.writers))
	p, partition := s.writers[i], int32(s.rng.IntN(scriptedPartitions))
	switch what := s.rng.IntN(100); {
	case what < 50:
		s.send(p, partition)
	case what < 58:
		s.say("nobody sends to %d: offset %d", partition, p.sendOutside(s.t, s.client, scriptedTopic, partition, s.values()...))
	case what < 66:
		p.commitOffset(s.t, s.client, scriptedGroup, scriptedTopic, int64(len(s.said)))
		p.open, p.begun = true, true
		s.say("%s commits an offset", p.name)
	case what < 92:
		if p.open {
			commit := what%2 == 0
			p.end(s.t, s.client, commit)
			p.added, p.open = map[int32]bool{}, false
			s.say("%s ends, commit %v", p.name, commit)
		}
	default:
		s.come(i)
	}
}

func (s *script) send(p *scriptedProducer, partition int32) {
	s.t.Helper()
	if !p.added[partition] {
		p.add(s.t, s.client, scriptedTopic, partition)
		p.added[partition], p.open, p.begun = true, true, true
	}
	s.say("%s sends to %d: offset %d", p.name, partition, p.bareProducer.send(s.t, s.client, scriptedTopic, partition, s.values()...))
}

func (s *script) values() (values []string) {
	for range 1 + s.rng.IntN(4) {
		values = append(values, fmt.Sprintf("key-%d: %0*d", s.rng.IntN(20), s.rng.IntN(200), len(s.said)))
	}
	return values
}

// timeOut leaves a transaction alone until the coordinator aborts it.
func (s *script) timeOut() {
	s.t.Helper()
	const slow = "scripted-slow"
	p := newBareProducer(s.t, s.client, slow, 3*time.Second)
	p.add(s.t, s.client, scriptedTopic, 0, 1)
	s.say("%s sends: offset %d", slow, p.send(s.t, s.client, scriptedTopic, 0, s.values()...))
	awaitTransaction(s.t, s.client, slow, "CompleteAbort")
	s.say("%s is late: error code %d", slow, p.tryEnd(s.t, s.client, true))
}

// sayOffsets says where partitions end and are stable, and what the group has committed.
func (s *script) sayOffsets() {
	s.t.Helper()
	ctx := within(s.t, 30*time.Second)
	for _, level := range []int8{0, 1} {
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID, req.IsolationLevel = -1, level
		of := kmsg.NewListOffsetsRequestTopic()
		of.Topic = scriptedTopic
		for p := range int32(scriptedPartitions) {
			one := kmsg.NewListOffsetsRequestTopicPartition()
			one.Partition, one.Timestamp = p, -1
			of.Partitions = append(of.Partitions, one)
		}
		req.Topics = append(req.Topics, of)
		resp, err := s.broker.Request(ctx, req)
		if err != nil {
			s.t.Fatal(err)
		}
		var ends []string
		for _, p := range resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions {
			ends = append(ends, fmt.Sprintf("%d at %d (%d)", p.Partition, p.Offset, p.ErrorCode))
		}
		slices.Sort(ends)
		s.say("isolation level %d ends: %q", level, ends)
	}
	for _, stable := range []bool{false, true} {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.RequireStable = stable
		req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: scriptedGroup, MemberEpoch: -1, Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: scriptedTopic, Partitions: []int32{0}}}}}
		resp, err := req.RequestWith(ctx, s.client)
		if err != nil || resp.Groups[0].ErrorCode != 0 {
			s.t.Fatalf("the group's offset: %v, %+v", err, resp)
		}
		p := resp.Groups[0].Topics[0].Partitions[0]
		s.say("the group is at %d, stable %v, error code %d", p.Offset, stable, p.ErrorCode)
	}
}

// sayFetches says what is fetched from each offset of a partition: little, and all that is
// to be had at once.
func (s *script) sayFetches(partition int32) {
	s.t.Helper()
	ctx := within(s.t, time.Minute)
	for offset, end := int64(0), int64(0); offset <= end; offset++ {
		for _, level := range []int8{0, 1} {
			for _, size := range []int32{1, 1 << 20} {
				req := kmsg.NewPtrFetchRequest()
				req.IsolationLevel, req.MaxBytes = level, 1<<20
				one := kmsg.NewFetchRequestTopicPartition()
				one.Partition, one.FetchOffset, one.PartitionMaxBytes = partition, offset, size
				of := kmsg.NewFetchRequestTopic()
				of.Topic, of.Partitions = scriptedTopic, append(of.Partitions, one)
				req.Topics = append(req.Topics, of)
				resp, err := s.broker.Request(ctx, req)
				if err != nil {
					s.t.Fatal(err)
				}
				p := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
				end = p.HighWatermark
				var aborted []string
				for _, a := range p.AbortedTransactions {
					if size == 1 && a.FirstOffset > lastOffset(p.RecordBatches) {
						continue // Kafka looks no closer than its offset index does
					}
					aborted = append(aborted, fmt.Sprintf("%d from %d", a.ProducerID, a.FirstOffset))
				}
				s.say("fetch %d from %d, level %d, up to %d bytes: error code %d, high watermark %d, stable %d, start %d, aborted %q, %d bytes",
					partition, offset, level, size, p.ErrorCode, p.HighWatermark, p.LastStableOffset, p.LogStartOffset, aborted, len(p.RecordBatches))
			}
		}
	}
}

// lastOffset is that of the last whole batch.
func lastOffset(batches []byte) (last int64) {
	const upToLength = 12
	for len(batches) >= upToLength {
		size := upToLength + int(binary.BigEndian.Uint32(batches[8:]))
		if size > len(batches) {
			break
		}
		var b kmsg.RecordBatch
		if err := b.ReadFrom(batches[:size]); err != nil {
			panic(err)
		}
		last = b.FirstOffset + int64(b.LastOffsetDelta)
		batches = batches[size:]
	}
	return last
}
