package replica

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
)

var (
	offsets0 = protocol.TopicPartition{Topic: protocol.ConsumerOffsetsTopic}
	offsets1 = protocol.TopicPartition{Topic: protocol.ConsumerOffsetsTopic, Partition: 1}
)

// acked is what an append of a TopicLog has come to.
type acked struct {
	base  int64
	err   error
	calls int
}

func (a *acked) done(base int64, err error) { a.base, a.err, a.calls = base, err, a.calls+1 }

func (a *acked) expect(t *testing.T, calls int, base int64, err error) {
	t.Helper()
	if a.calls != calls || a.base != base || !errors.Is(a.err, err) {
		t.Errorf("%d calls, base offset %d, error %v; want %d, %d, %v", a.calls, a.base, a.err, calls, base, err)
	}
}

func TestTopicLogAppend(t *testing.T) {
	w := newWorld(t)
	l := w.replicas.TopicLog(protocol.ConsumerOffsetsTopic)
	appendTo := func(partition, epoch int32, acks int16) *acked {
		var a acked
		l.Append(partition, epoch, batch(t, 1, 3), acks, a.done)
		return &a
	}
	appendTo(0, 5, AcksAll).expect(t, 1, -1, kerr.UnknownTopicOrPartition)
	w.leads(offsets0, 5, 1, 2)
	appendTo(0, 5, AcksLeader).expect(t, 1, 0, nil)
	waits := appendTo(0, 5, AcksAll)
	waits.expect(t, 0, 0, nil)
	w.leads(offsets0, 6) // the same leadership goes on, without broker 2
	waits.expect(t, 1, 3, nil)
	appendTo(0, 5, AcksAll).expect(t, 1, 6, nil)
	appendTo(0, 5, AcksNone).expect(t, 1, 9, nil)
	appendTo(0, 5, 2).expect(t, 1, -1, kerr.InvalidRequiredAcks)

	w.leads(offsets1, 5, 1, 2)
	cut := appendTo(1, 5, AcksAll)
	offsets1Of := func(f func(*RoleChange)) func(*RoleChange) {
		return func(c *RoleChange) { c.Partition = offsets1; f(c) }
	}
	w.apply(change(epoch(6), version(6), offsets1Of(leader(2))))
	cut.expect(t, 1, 0, kerr.NotLeaderForPartition)
	appendTo(1, 5, AcksAll).expect(t, 1, -1, kerr.NotLeaderForPartition)
	w.leads(offsets1, 7)
	appendTo(1, 5, AcksAll).expect(t, 1, -1, kerr.NotLeaderForPartition)
	if _, end, err := l.Bounds(1); err != nil || end != 3 {
		t.Errorf("the log ends at %d, error %v: an earlier leadership has appended", end, err)
	}
	appendTo(1, 7, AcksAll).expect(t, 1, 3, nil)
}

func TestTopicLogNotifyCommitted(t *testing.T) {
	w := newWorld(t)
	l := w.replicas.TopicLog(protocol.ConsumerOffsetsTopic)
	ask := func() *acked {
		var a acked
		l.NotifyCommitted(0, 5, func(err error) { a.done(0, err) })
		return &a
	}
	ask().expect(t, 1, 0, kerr.UnknownTopicOrPartition)
	p := w.leads(offsets0, 5, 1, 2)
	ask().expect(t, 1, 0, nil) // of nothing
	mustAppend(t, p, AppendRequest{Origin: record.Coordinator, LedSince: 5, Acks: AcksLeader}, batch(t, 1, 3))
	waits := ask()
	waits.expect(t, 0, 0, nil)
	w.configure(protocol.ConsumerOffsetsTopic, func(cfg *config.Topic) { cfg.MinInsyncReplicas = 2 })
	offsets0Of := func(c *RoleChange) { c.Partition = offsets0 }
	w.apply(change(epoch(6), version(6), offsets0Of)) // without broker 2, which is one too few
	waits.expect(t, 0, 0, nil)
	log, _ := p.Log()
	log.AdvanceHighWatermark(3) // as broker 2 would that has fetched just before
	p.wake(p.role.Load())
	waits.expect(t, 1, 0, nil)
	w.configure(protocol.ConsumerOffsetsTopic, func(*config.Topic) {})
	mustAppend(t, w.leads(offsets0, 7, 1, 2), AppendRequest{Origin: record.Coordinator, LedSince: 5, Acks: AcksLeader}, batch(t, 1, 3))
	cut := ask()
	w.apply(change(epoch(8), version(8), leader(2), offsets0Of))
	cut.expect(t, 1, 0, kerr.NotLeaderForPartition)
	ask().expect(t, 1, 0, kerr.NotLeaderForPartition)
}

func TestTopicLogRead(t *testing.T) {
	w := newWorld(t)
	p := w.leads(offsets0, 5, 1, 2)
	l := w.replicas.TopicLog(protocol.ConsumerOffsetsTopic)
	size := 0
	for range 4 {
		b := batch(t, 1, 2)
		size = len(b)
		mustAppend(t, p, AppendRequest{Origin: record.Coordinator, LedSince: 5, Acks: AcksLeader}, b)
	}
	start, end, err := l.Bounds(0)
	if start != 0 || end != 8 || err != nil {
		t.Errorf("bounds %d, %d, %v", start, end, err)
	}
	for _, c := range []struct {
		name      string
		from, end int64
		max       int
		batches   int
	}{
		{"one that is too large", 0, 8, 1, 1},
		{"no half batches", 0, 8, 3*size - 1, 2},
		{"all", 0, 8, 100 * size, 4},
		{"from the middle of a batch", 3, 8, 100 * size, 3},
		{"up to an offset", 0, 4, 100 * size, 2},
		{"at the end", 8, 8, 100 * size, 0},
	} {
		got, err := l.Read([]byte("before"), 0, c.from, c.end, int32(c.max))
		if want := len("before") + c.batches*size; err != nil || len(got) != want || string(got[:6]) != "before" {
			t.Errorf("%s: %d bytes, error %v, want %d", c.name, len(got), err, want)
		}
	}
	if _, err := l.Read(nil, 0, 9, 10, 1); !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Errorf("behind the end: %v", err)
	}
	if _, err := l.Read(nil, 1, 0, 1, 1); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("a partition that is not here: %v", err)
	}
}

func TestTopicLogMaxBatch(t *testing.T) {
	w := newWorld(t)
	l := w.replicas.TopicLog(protocol.ConsumerOffsetsTopic)
	if got := l.MaxBatchBytes(0); got <= 0 {
		t.Errorf("%d of a partition that is not here", got)
	}
	w.leads(offsets0, 5)
	for _, c := range [][3]int32{{100, 200, 100}, {300, 200, 200}} {
		w.configure(protocol.ConsumerOffsetsTopic, func(cfg *config.Topic) { cfg.MaxMessageBytes, cfg.SegmentBytes = c[0], c[1] })
		if got := l.MaxBatchBytes(0); got != int(c[2]) {
			t.Errorf("max.message.bytes %d, segment.bytes %d: %d", c[0], c[1], got)
		}
	}
}
