package group

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"reflect"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/statelog"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func pointer(s string) *string { return &s }

// What Kafka 3.9's own classes write.
func TestGoldenRecords(t *testing.T) {
	if got, want := appendOffsetKey(nil, "g", "t", 3), unhex(t, "000100016700017400000003"); !bytes.Equal(got, want) {
		t.Errorf("offset key %x, Kafka's %x", got, want)
	}
	if got, want := appendGroupKey(nil, "g"), unhex(t, "0002000167"); !bytes.Equal(got, want) {
		t.Errorf("group key %x, Kafka's %x", got, want)
	}
	offset := OffsetValue{Offset: 42, LeaderEpoch: -1, CommitMS: 1700000000000, ExpireMS: NoExpiry}
	if got, want := appendOffsetValue(nil, &offset), unhex(t, "0003000000000000002affffffff00000000018bcfe56800"); !bytes.Equal(got, want) {
		t.Errorf("offset %x, Kafka's %x", got, want)
	}
	group := groupValue{protocolType: "consumer", generation: 1, stateMS: 1700000000000}
	if got, want := appendGroupValue(nil, &group), unhex(t, "00030008636f6e73756d657200000001ffffffff0000018bcfe5680000000000"); !bytes.Equal(got, want) {
		t.Errorf("empty group %x, Kafka's %x", got, want)
	}
}

func TestOffsetValueVersions(t *testing.T) {
	const offset, metadata, ms = "000000000000002a", "00016e", "0000018bcfe56800"
	for _, c := range []struct {
		bytes string
		want  OffsetValue
	}{
		{"0000" + offset + metadata + ms, OffsetValue{42, -1, "n", 1700000000000, NoExpiry}},
		{"0001" + offset + metadata + ms + "0000018bcfe56801", OffsetValue{42, -1, "n", 1700000000000, 1700000000001}},
		{"0002" + offset + metadata + ms, OffsetValue{42, -1, "n", 1700000000000, NoExpiry}},
		{"0003" + offset + "00000007" + metadata + ms, OffsetValue{42, 7, "n", 1700000000000, NoExpiry}},
		{"0004" + offset + "00000007" + "026e" + ms + "01" + "0002abcd", OffsetValue{42, 7, "n", 1700000000000, NoExpiry}},
	} {
		b := unhex(t, c.bytes)
		got, err := parseOffsetValue(b)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v, want %+v", c.bytes, got, err, c.want)
		}
		if version := b[1]; version == 1 || version == 3 {
			if again := appendOffsetValue(nil, &got); !bytes.Equal(again, b) {
				t.Errorf("%x becomes %x", b, again)
			}
		}
		for n := range b {
			if _, err := parseOffsetValue(b[:n]); !errors.Is(err, errRecord) {
				t.Errorf("%x: %v", b[:n], err)
			}
		}
	}
	if _, err := parseOffsetValue(unhex(t, "0005"+offset+"00000007"+metadata+ms)); !errors.Is(err, errRecord) {
		t.Errorf("version 5: %v", err)
	}
}

func TestGroupValueVersions(t *testing.T) {
	const head, since, members = "0008636f6e73756d6572" + "00000001" + "000572616e6765" + "00016d", "0000018bcfe56800", "00000001"
	const client, session, bytesOf = "000163" + "00022f68", "00002710", "0000000173" + "0000000161"
	want := func(change func(*groupValue)) groupValue {
		v := groupValue{
			protocolType: "consumer", generation: 1, protocol: pointer("range"), leader: pointer("m"), stateMS: 1700000000000,
			members: []memberValue{{
				id: "m", clientID: "c", clientHost: "/h", rebalanceTimeoutMS: 60000, sessionTimeoutMS: 10000,
				subscription: []byte("s"), assignment: []byte("a"),
			}},
		}
		change(&v)
		return v
	}
	for _, c := range []struct {
		bytes string
		want  groupValue
	}{
		{"0000" + head + members + "00016d" + client + session + bytesOf, want(func(v *groupValue) {
			v.stateMS, v.members[0].rebalanceTimeoutMS = -1, 10000
		})},
		{"0001" + head + members + "00016d" + client + "0000ea60" + session + bytesOf, want(func(v *groupValue) { v.stateMS = -1 })},
		{"0002" + head + since + members + "00016d" + client + "0000ea60" + session + bytesOf, want(func(*groupValue) {})},
		{"0003" + head + since + members + "00016d" + "000169" + client + "0000ea60" + session + bytesOf, want(func(v *groupValue) {
			v.members[0].instanceID = pointer("i")
		})},
		{"0004" + "09636f6e73756d6572" + "00000001" + "0672616e6765" + "026d" + since + "02" + "026d" + "0269" + "0263" + "032f68" + "0000ea60" + session +
			"0273" + "0261" + "00" + "00", want(func(v *groupValue) { v.members[0].instanceID = pointer("i") })},
	} {
		b := unhex(t, c.bytes)
		got, err := parseGroupValue(b)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", c.bytes, got, err, c.want)
		}
		if b[1] == 3 {
			if again := appendGroupValue(nil, &got); !bytes.Equal(again, b) {
				t.Errorf("%x becomes %x", b, again)
			}
		}
		for n := range b {
			if _, err := parseGroupValue(b[:n]); !errors.Is(err, errRecord) {
				t.Errorf("%x: %v", b[:n], err)
			}
		}
	}
}

// kafkaSegment is what a real Kafka wrote; see testdata/README.md.
func kafkaSegment(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/kafka-3.9.2/__consumer_offsets-0.log")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// eachRecord calls f with each record of a segment.
func eachRecord(t testing.TB, segment []byte, f func(b record.Batch, r record.Record)) {
	t.Helper()
	for len(segment) > 0 {
		b, rest, err := record.Next(segment)
		if err != nil {
			t.Fatal(err)
		}
		segment = rest
		for r, err := range b.Records(1 << 20) {
			if err != nil {
				t.Fatal(err)
			}
			f(b, r)
		}
	}
}

// What Kafka wrote, read and written again, is the same to the byte.
func TestRecordsOfKafkaAreTheSame(t *testing.T) {
	kinds := map[string]int{}
	eachRecord(t, kafkaSegment(t), func(b record.Batch, r record.Record) {
		key, err := parseRecordKey(r.Key)
		if err != nil {
			t.Fatal(err)
		}
		again := appendGroupKey(nil, string(key.group))
		if key.isOffset() {
			again = appendOffsetKey(nil, string(key.group), string(key.topic), key.partition)
		}
		if !bytes.Equal(again, r.Key) {
			t.Errorf("key %x, Kafka's %x", again, r.Key)
		}
		switch {
		case r.Value == nil:
			kinds["tombstone"]++
			return
		case key.isOffset():
			kinds["offset"]++
			v, err := parseOffsetValue(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			again = appendOffsetValue(nil, &v)
		default:
			kinds["group"]++
			v, err := parseGroupValue(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			again = appendGroupValue(nil, &v)
		}
		if !bytes.Equal(again, r.Value) {
			t.Errorf("value %x, Kafka's %x", again, r.Value)
		}
	})
	if kinds["offset"] != 21 || kinds["group"] != 5 || kinds["tombstone"] != 4 {
		t.Errorf("found %v", kinds)
	}
}

// The batches, too.
func TestBatchesAreKafkas(t *testing.T) {
	commit := &Commit{Offsets: []CommitOffset{
		{Topic: "orders", Partition: 0, Offset: 2, CommitMS: 1795749041708, ExpireMS: NoExpiry},
		{Topic: "orders", Partition: 1, Offset: 4, CommitMS: 1795749041708, ExpireMS: NoExpiry},
		{Topic: "orders", Partition: 2, Offset: 3, CommitMS: 1795749041708, ExpireMS: NoExpiry},
	}}
	all := &tombstones{group: true}
	for i := range int32(3) {
		all.offsets = append(all.offsets, protocol.TopicPartition{Topic: "orders", Partition: i})
	}
	gone := groupValue{protocolType: "consumer", generation: 2, stateMS: 1795749058782}
	for offset, w := range map[int64]write{
		1:  {group: "static", timeMS: 1795749041714, commit: commit},
		22: {group: "gone", timeMS: 1795749058782, metadata: &groupWrite{value: gone}},
		26: {group: "gone", timeMS: 1795749064010, tombstones: all},
	} {
		got, err := newEncoder(record.None).encode([]queued{{write: w}}, math.MaxInt)
		if err != nil {
			t.Fatal(err)
		}
		got.SetBaseOffset(offset)
		got.SetLeaderEpoch(0)
		for rest := kafkaSegment(t); len(rest) > 0; {
			var b record.Batch
			if b, rest, err = record.Next(rest); err != nil {
				t.Fatal(err)
			}
			if b.BaseOffset() == offset && !bytes.Equal(got, b) {
				t.Errorf("batch at %d:\n%x\nKafka's\n%x", offset, []byte(got), []byte(b))
			}
		}
		if size := w.size() + record.HeaderSize; size < len(got) {
			t.Errorf("%d bytes, at most %d were expected", len(got), size)
		}
	}
}

func FuzzRecord(f *testing.F) {
	eachRecord(f, kafkaSegment(f), func(_ record.Batch, r record.Record) { f.Add(r.Key, r.Value) })
	f.Add([]byte{0, 2, 0, 0}, unhex(f, "000409636f6e73756d6572000000010672616e6765026d0000018bcfe56800ffffffff0f"))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if k, err := parseRecordKey(key); err == nil && k.isOffset() && len(k.group) > statelog.MaxString {
			t.Errorf("group of %d bytes", len(k.group))
		}
		if v, err := parseOffsetValue(value); err == nil && len(v.Metadata) <= statelog.MaxString {
			if again, err := parseOffsetValue(appendOffsetValue(nil, &v)); v.ExpireMS == NoExpiry && (err != nil || again != v) {
				t.Errorf("%+v becomes %+v, %v", v, again, err)
			}
		}
		if v, err := parseGroupValue(value); err == nil {
			if len(v.members) > len(value) {
				t.Errorf("%d members in %d bytes", len(v.members), len(value))
			}
		}
		topicSet{}.addSubscription(value)
		l := newLoader()
		b := record.NewBuilder()
		b.Append(1, key, value)
		batch, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		if err := l.add(batch); err != nil {
			t.Errorf("the load ends with %v", err)
		}
		var fx effects
		for id, g := range l.groups {
			loadedClassicGroup(id, &Limits{MaxSize: 1}, g, epoch, &fx)
		}
	})
}

// A length that is not there costs no memory.
func TestHostileLengths(t *testing.T) {
	value := unhex(t, "0003"+"0000"+"00000001"+"ffff"+"ffff"+"0000018bcfe56800"+"7fffffff")
	allocated := testing.AllocsPerRun(10, func() {
		if _, err := parseGroupValue(value); !errors.Is(err, errRecord) {
			t.Error(err)
		}
	})
	if allocated > 10 {
		t.Errorf("%v allocations", allocated)
	}
}

func TestLongerThan(t *testing.T) {
	for s, n := range map[string]int{"": 0, "äöü": 3, "😀😀": 4, "abc": 3} {
		if longerThan(s, n) || n > 0 && !longerThan(s, n-1) {
			t.Errorf("%q does not have %d units", s, n)
		}
	}
}
