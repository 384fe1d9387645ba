package group

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/internal/memlog"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
)

// What Kafka left behind is what it was.
func TestLoadOfKafkasLog(t *testing.T) {
	var asItWas []record.Batch
	for rest := kafkaSegment(t); len(rest) > 0; {
		var b record.Batch
		var err error
		if b, rest, err = record.Next(rest); err != nil {
			t.Fatal(err)
		}
		asItWas = append(asItWas, b)
	}
	loadKafkasLog(t, asItWas)
}

// Kafka 0.10 and before have left messages, which compaction keeps as they are.
func TestLoadOfOldFormats(t *testing.T) {
	for magic := range int8(2) {
		for _, codec := range []record.Codec{record.None, record.Gzip} {
			t.Run(fmt.Sprintf("format %d, %v", magic, codec), func(t *testing.T) {
				const together = 5
				var messages []byte
				var b *record.Builder
				n := 0
				end := func() {
					if b == nil {
						return
					}
					batch, err := b.Build()
					if err == nil {
						messages, err = record.DownConvert(messages, batch, magic, 0, 1<<30, 1<<20)
					}
					if err != nil {
						t.Fatal(err)
					}
					b = nil
				}
				eachRecord(t, kafkaSegment(t), func(_ record.Batch, r record.Record) {
					if b == nil {
						b = record.NewBuilder().SetBaseOffset(int64(n)).SetCodec(codec, record.DefaultLevel)
					}
					b.Append(1, r.Key, r.Value)
					if n++; n%together == 0 {
						end()
					}
				})
				end()
				var entries []record.Batch
				for rest := messages; len(rest) > 0; {
					var entry record.Batch
					var err error
					if entry, rest, err = record.NextEntry(rest); err != nil || entry.Magic() != magic {
						t.Fatalf("%v, %v", entry, err)
					}
					entries = append(entries, entry)
				}
				loadKafkasLog(t, entries)
				l := newLoader()
				entries[0][len(entries[0])-1] ^= 1
				if l.add(entries[0]) == nil {
					t.Error("a damaged message is taken")
				}
			})
		}
	}
}

// loadKafkasLog loads the records of kafkaSegment, whatever they are in.
func loadKafkasLog(t *testing.T, entries []record.Batch) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New()
		for _, entry := range entries {
			for n := range int32(2) { // of its groups each partition has some
				log.Put(n, entry)
			}
		}
		l := newLab(t, log, func(s *Settings) { s.LoadBufferBytes = 300 })
		defer l.stop()
		l.leads(0, 1)
		l.leads(1, 1)
		synctest.Wait()
		l.expect("simple", "orders-0=1 orders-1=1 orders-2=1")
		l.expect("dynamic", "orders-0=2 orders-1=4 orders-2=3")
		l.expect("static", "orders-0=2 orders-1=4 orders-2=3")
		l.expect("gone", "")
		var texts []string
		list, err := l.c.List()
		for _, g := range list {
			texts = append(texts, fmt.Sprintf("%s %q %v", g.Group, g.ProtocolType, g.State))
		}
		texts = slices.Compact(texts)
		if got := strings.Join(texts, ", "); err != nil || got != `dynamic "consumer" Empty, simple "" Empty, static "consumer" Stable` {
			t.Errorf("listed %s, %v", got, err)
		}
		d, _ := l.c.Describe("static")
		if len(d.Members) != 1 || d.Members[0].ClientID != "café" || *d.Members[0].InstanceID != "instance-1" || d.Protocol != "range" {
			t.Fatalf("described as %+v", d)
		}
		is(t, "heartbeat", l.c.Heartbeat(&HeartbeatRequest{Group: "static", MemberID: d.Members[0].ID, Generation: 1}), nil)
	})
}

// loaded is what a loader makes of batches: each is offsets of group g, a tombstone
// ("-t-0"), a marker ("commit", "abort"); "7:" before it is a producer's transaction.
func loaded(t *testing.T, batches ...string) string {
	t.Helper()
	l := newLoader()
	for i, text := range batches {
		b := record.NewBuilder().SetBaseOffset(int64(i))
		if id, rest, ok := strings.Cut(text, ":"); ok {
			producer := int64(id[0] - '0')
			if rest == "commit" || rest == "abort" {
				m := record.EndTxnMarker(producer, 0, 0, rest == "commit", 1)
				m.SetBaseOffset(int64(i))
				if err := l.add(m); err != nil {
					t.Fatal(err)
				}
				continue
			}
			b.SetProducer(producer, 0, 0).SetTransactional(true)
			text = rest
		}
		name, deleted := strings.CutPrefix(text, "-")
		name, value, _ := strings.Cut(name, "=")
		tp, _ := protocol.ParseTopicPartitionDir(name)
		var bytes []byte
		if !deleted {
			v := OffsetValue{LeaderEpoch: -1, ExpireMS: NoExpiry}
			fmt.Sscan(value, &v.Offset)
			bytes = appendOffsetValue(nil, &v)
		}
		b.Append(1, appendOffsetKey(nil, "g", tp.Topic, tp.Partition), bytes)
		batch, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		if err := l.add(batch); err != nil {
			t.Fatal(err)
		}
	}
	l.finish()
	g := l.groups["g"]
	if g == nil {
		return ""
	}
	var texts []string
	for tp, o := range g.offsets.all() {
		texts = append(texts, fmt.Sprintf("%v=%d", tp, o.Offset))
	}
	for id, pending := range g.transactions {
		for tp, o := range pending {
			texts = append(texts, fmt.Sprintf("%d:%v=%d", id, tp, o.Offset))
		}
	}
	slices.Sort(texts)
	return strings.Join(texts, " ")
}

func TestLoadOfTransactions(t *testing.T) {
	for _, c := range []struct {
		log  []string
		want string
	}{
		{[]string{"t-0=1", "t-0=2", "t-1=3", "-t-1"}, "t-0=2"},
		{[]string{"t-0=1", "-t-0"}, ""},
		{[]string{"7:t-0=1"}, "7:t-0=1"},
		{[]string{"7:t-0=1", "7:t-0=2", "8:t-1=1", "7:commit"}, "8:t-1=1 t-0=2"},
		{[]string{"t-0=5", "7:t-0=1", "7:abort"}, "t-0=5"},
		{[]string{"7:t-0=1", "t-0=5", "7:commit"}, "t-0=5"}, // the later append counts
		{[]string{"t-0=5", "7:t-0=1", "-t-0", "7:commit"}, ""},
		{[]string{"8:commit"}, ""},
	} {
		if got := loaded(t, c.log...); got != c.want {
			t.Errorf("%v: %q, want %q", c.log, got, c.want)
		}
	}
}

// Records that are not understood are passed over; a batch that is damaged is not.
func TestLoadOfStrangeRecords(t *testing.T) {
	offset := appendOffsetValue(nil, &OffsetValue{Offset: 1, LeaderEpoch: -1, ExpireMS: NoExpiry})
	b := record.NewBuilder()
	b.Append(1, appendOffsetKey(nil, "g", "t", 0), offset)
	b.Append(1, []byte{0, 3, 0, 1, 'g'}, []byte{0, 0})
	b.Append(1, appendOffsetKey(nil, "g", "t", 1), []byte{0, 9})
	b.Append(1, appendGroupKey(nil, "g"), []byte{0, 3})
	b.Append(1, nil, offset)
	b.Append(1, []byte{0, 1, 0}, offset)
	b.Append(1, appendOffsetKey(nil, "g", "t", 2), offset)
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	l := newLoader()
	if err := l.add(batch); err != nil {
		t.Fatal(err)
	}
	if g := l.groups["g"]; l.skipped != 5 || g.offsets.len() != 2 || g.meta != nil || l.firstSkipped == nil {
		t.Errorf("%d skipped, %+v, %v", l.skipped, g, l.firstSkipped)
	}
	batch[len(batch)-10] ^= 1 // in the last offset
	if l.add(batch) == nil {
		t.Error("a damaged batch is taken")
	}
}

// What has been deleted takes no memory.
func TestLoadHoldsLiveKeysOnly(t *testing.T) {
	l := newLoader()
	value := appendOffsetValue(nil, &OffsetValue{ExpireMS: NoExpiry})
	meta := appendGroupValue(nil, &groupValue{protocolType: "consumer"})
	for i := range 1000 {
		b := record.NewBuilder()
		group := fmt.Sprint("g", i)
		b.Append(1, appendOffsetKey(nil, group, "t", 0), value)
		b.Append(1, appendGroupKey(nil, group), meta)
		b.Append(1, appendOffsetKey(nil, group, "t", 0), nil)
		b.Append(1, appendGroupKey(nil, group), nil)
		batch, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		if err := l.add(batch); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.groups) != 0 || l.offsets != 0 || len(l.topics) != 1 {
		t.Errorf("%d groups, %d offsets, %d topics", len(l.groups), l.offsets, len(l.topics))
	}
}

// A load that is over when the leadership has ended serves nobody.
func TestLoadIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, memlog.New())
		defer l.stop()
		p := l.c.newPartition(0, 1)
		found := newLoader()
		v := groupValue{protocolType: "consumer", generation: 1, protocol: pointer("range"), members: []memberValue{{id: "m", sessionTimeoutMS: 10_000}}}
		found.group([]byte("g")).meta = &v
		p.resign()
		l.c.serve(p, found, time.Now())
		if h, err := p.table.Get("g"); h != nil || err != errNotCoordinator {
			t.Errorf("found %v, %v", h, err)
		}
		if s := l.c.Stats(); s.Loads != 0 {
			t.Errorf("%+v", s)
		}
	})
}
