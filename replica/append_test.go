package replica

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

var readAll = ReadRequest{MaxBytes: 1 << 20, CurrentLeaderEpoch: NoEpoch, LastFetchedEpoch: NoEpoch, ReplicaID: Consumer}

func TestAppendAndRead(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 5)
	want := batch(t, 100, 3)
	got := mustAppend(t, p, produce, bytes.Clone(want))
	if got != (AppendResult{BaseOffset: 0, LastOffset: 2, AppendTimeMS: -1, LogStart: 0, LeaderEpoch: 5}) {
		t.Errorf("%+v", got)
	}
	if got := mustAppend(t, p, produce, batch(t, 200, 2)); got.BaseOffset != 3 || got.LastOffset != 4 {
		t.Errorf("%+v", got)
	}
	r, err := p.Read(readAll)
	if err != nil || r.HighWatermark != 5 || r.LogEnd != 5 || r.Aborted != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	record.Batch(want).SetLeaderEpoch(5)
	if b := bytesOf(t, &r.Range); !bytes.HasPrefix(b, want) {
		t.Errorf("read %x", b)
	}
}

func TestAppendRefuses(t *testing.T) {
	w := newWorld(t)
	w.configure("t", func(c *config.Topic) { c.MinInsyncReplicas = 2 })
	leads := w.leads(t0, 5, 1, 2)
	alone := func(tp protocol.TopicPartition) *Partition {
		w.apply(change(func(c *RoleChange) { c.Partition = tp }))
		p, _ := w.replicas.Partition(tp)
		return p
	}
	underMin := alone(protocol.TopicPartition{Topic: "t", Partition: 1})
	internal := w.leads(protocol.TopicPartition{Topic: protocol.ConsumerOffsetsTopic}, 5)
	w.apply(change(leader(2), func(c *RoleChange) { c.Partition.Partition = 2 }))
	follows, _ := w.replicas.Partition(protocol.TopicPartition{Topic: "t", Partition: 2})
	with := func(change func(*AppendRequest)) AppendRequest {
		r := produceAll()
		change(&r)
		return r
	}
	good := batch(t, 1, 1)
	for _, c := range []struct {
		name  string
		p     *Partition
		req   AppendRequest
		bytes []byte
		err   error
	}{
		{"acks=2", leads, with(func(r *AppendRequest) { r.Acks = 2 }), good, kerr.InvalidRequiredAcks},
		{"acks=-2", leads, with(func(r *AppendRequest) { r.Acks = -2 }), good, kerr.InvalidRequiredAcks},
		{"internal topic", internal, produceAll(), good, kerr.InvalidTopicException},
		{"internal topic, admin client", internal, with(func(r *AppendRequest) { r.InternalAllowed = true }), good, nil},
		{"internal topic, coordinator", internal, with(func(r *AppendRequest) { r.Origin, r.LedSince = record.Coordinator, 5 }), good, nil},
		{"internal topic, coordinator of an earlier leadership", internal, with(func(r *AppendRequest) { r.Origin, r.LedSince = record.Coordinator, 4 }), good, kerr.NotLeaderForPartition},
		{"follower", follows, produceAll(), good, kerr.NotLeaderForPartition},
		{"too few in sync, acks=all", underMin, produceAll(), good, kerr.NotEnoughReplicas},
		{"too few in sync, acks=1", underMin, produce, good, nil},
		{"enough in sync", leads, produceAll(), good, nil},
		{"corrupt", leads, produceAll(), append(good[:len(good)-1:len(good)-1], 'x'), kerr.CorruptMessage},
		{"nothing", leads, produceAll(), nil, kerr.InvalidRecord},
		{"out of sequence", leads, produceAll(), batch(t, 1, 1, producer(7, 0, 9)), nil},
		{"out of sequence", leads, produceAll(), batch(t, 1, 1, producer(7, 0, 3)), kerr.OutOfOrderSequenceNumber},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.p.Append(bytes.Clone(c.bytes), c.req)
			if !errors.Is(err, c.err) {
				t.Errorf("%v, want %v", err, c.err)
			}
		})
	}
}

func TestAppendDuplicate(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 5)
	mustAppend(t, p, produce, batch(t, 1, 4))
	mustAppend(t, p, produce, batch(t, 700, 3, producer(7, 0, 0)))
	got := mustAppend(t, p, produce, batch(t, 700, 3, producer(7, 0, 0)))
	if want := (AppendResult{BaseOffset: 4, LastOffset: 6, AppendTimeMS: 702, Duplicate: true, LeaderEpoch: 5}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if log, _ := p.Log(); log.EndOffset() != 7 {
		t.Errorf("log ends at %d", log.EndOffset())
	}
}

// TestTopicRulesReachValidation: a topic's configuration decides how batches are
// checked and changed.
func TestTopicRulesReachValidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.leads(t0, 5)
		now := time.Now().UnixMilli()
		for _, c := range []struct {
			name  string
			set   func(*config.Topic)
			bytes []byte
			err   error
			check func(AppendResult, record.Batch) bool
		}{
			{"message.timestamp.type", func(c *config.Topic) { c.MessageTimestampType = config.LogAppendTime }, batch(t, 1, 1), nil,
				func(r AppendResult, b record.Batch) bool { return r.AppendTimeMS == now && b.MaxTimestamp() == now }},
			{"compression.type=zstd", func(c *config.Topic) { c.CompressionType = "zstd" }, batch(t, 1, 1), nil,
				func(_ AppendResult, b record.Batch) bool { return b.Codec() == record.Zstd }},
			{"compression.type=uncompressed", func(c *config.Topic) { c.CompressionType = "uncompressed" },
				batch(t, 1, 1, func(b *record.Builder) { b.SetCodec(record.LZ4, 0) }), nil,
				func(_ AppendResult, b record.Batch) bool { return b.Codec() == record.None }},
			{"compression.type=producer", func(c *config.Topic) { c.CompressionType = "producer" },
				batch(t, 1, 1, func(b *record.Builder) { b.SetCodec(record.LZ4, 0) }), nil,
				func(_ AppendResult, b record.Batch) bool { return b.Codec() == record.LZ4 }},
			{"max.message.bytes", func(c *config.Topic) { c.MaxMessageBytes = 60 }, batch(t, 1, 1), kerr.MessageTooLarge, nil},
			{"segment.bytes", func(c *config.Topic) { c.SegmentBytes = 60 }, batch(t, 1, 1), kerr.RecordListTooLarge, nil},
			{"cleanup.policy", func(c *config.Topic) { c.Compact = true }, batch(t, 1, 1, func(b *record.Builder) { b.Append(1, nil, nil) }), kerr.InvalidRecord, nil},
			{"message.timestamp.before.max.ms", func(c *config.Topic) { c.TimestampBeforeMaxMS = 1000 }, batch(t, now-1001, 1), kerr.InvalidTimestamp, nil},
			{"message.timestamp.after.max.ms", func(c *config.Topic) { c.TimestampAfterMaxMS = 1000 }, batch(t, now+1001, 1), kerr.InvalidTimestamp, nil},
			{"record.validation", func(c *config.Topic) { c.FullValidation = true }, lyingAboutCodec(t), kerr.CorruptMessage, nil},
		} {
			w.configure("t", c.set)
			r, err := p.Append(c.bytes, produce)
			if !errors.Is(err, c.err) {
				t.Errorf("%s: %v, want %v", c.name, err, c.err)
			}
			if err != nil || c.check == nil {
				continue
			}
			req := readAll
			req.Offset = r.BaseOffset
			got, err := p.Read(req)
			if err != nil || !c.check(r, bytesOf(t, &got.Range)) {
				t.Errorf("%s: %+v, %v", c.name, r, err)
			}
		}
	})
}

// lyingAboutCodec says LZ4 and is not.
func lyingAboutCodec(t testing.TB) []byte {
	b := batch(t, 1, 1, func(b *record.Builder) { b.SetCodec(record.LZ4, 0) })
	b = append(b[:record.HeaderSize], "no LZ4 at all"...)
	b[11] = byte(len(b) - record.LogOverhead)
	record.Batch(b).SetMaxTimestamp(2, record.CreateTime) // makes the checksum right
	return b
}

// TestConcurrentAppends: every append gets offsets of its own, without a gap, and
// the high watermark ends where the log does.
func TestConcurrentAppends(t *testing.T) {
	w := newWorld(t)
	p := w.leads(t0, 5)
	const writers, each = 8, 50
	var mu sync.Mutex
	seen := map[int64]bool{}
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for range each {
				r, err := p.Append(batch(t, 1, 2), produceAll())
				if err != nil {
					t.Error(err)
					return
				}
				if _, done := p.NotifyAt(r.LastOffset+1, r.LeaderEpoch, func(error) {}); !done {
					t.Errorf("offset %d is not committed", r.LastOffset)
				}
				mu.Lock()
				seen[r.BaseOffset] = true
				mu.Unlock()
			}
		})
	}
	for e := range int32(20) { // the role changes under them
		w.leads(t0, 6+e)
	}
	group.Wait()
	log, _ := p.Log()
	if end := int64(2 * writers * each); len(seen) != writers*each || log.EndOffset() != end || log.HighWatermark() != end {
		t.Errorf("%d batches, log ends at %d, high watermark %d", len(seen), log.EndOffset(), log.HighWatermark())
	}
}

// TestAppendAllocates guards the hot path: what an append costs must not depend
// on the batch, and be next to nothing.
func TestAppendAllocates(t *testing.T) {
	w := newWorldOn(t, vfs.OS(), t.TempDir()) // the one in memory allocates
	p := w.leads(t0, 5)
	p.Watch(silent{}, 1, allMoves)
	for _, n := range []int{1, 1000} {
		b := batch(t, 1, n)
		allocs := testing.AllocsPerRun(200, func() {
			record.Batch(b).SetBaseOffset(0)
			r, err := p.Append(b, produceAll())
			if err != nil {
				t.Fatal(err)
			}
			if _, done := p.NotifyAt(r.LastOffset+1, r.LeaderEpoch, nil); !done {
				t.Fatal("not committed")
			}
		})
		if allocs > 1 { // an index entry now and then
			t.Errorf("%d records: %v allocations", n, allocs)
		}
	}
}

type silent struct{}

func (silent) Moved(uint32, bool) func() { return nil }

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			w := newWorldOn(b, vfs.OS(), b.TempDir())
			p := w.leads(t0, 5)
			data := batch(b, 1, n)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				record.Batch(data).SetBaseOffset(0)
				if _, err := p.Append(data, produceAll()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
