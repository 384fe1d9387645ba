package record

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
)

// batchContent shows the records of a batch as setContent does those of a set.
func batchContent(t testing.TB, b Batch) string {
	t.Helper()
	var out strings.Builder
	for r, err := range b.Records(1 << 20) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%d@%d:%s=%s ", b.Offset(r), b.Timestamp(r), quoted(r.Key), quoted(r.Value))
	}
	return out.String()
}

// Of every set that Kafka's classes wrote one batch is made, with its codec.
func TestValidateConvertsSets(t *testing.T) {
	for _, g := range goldenSets {
		for version := int16(0); version < 3; version++ {
			set := unhex(t, g.hex)
			before := bytes.Clone(set)
			set = append(set, before[:20]...) // a part of a message at the end is left out
			b, appendTime, err := ValidateForLeader(set, rules(produceVersion(version)))
			if err != nil {
				t.Fatalf("%v: %v", g, err)
			}
			b.SetBaseOffset(7)
			if got := batchContent(t, b); got != g.content() {
				t.Errorf("%v: %s\nwant %s", g, got, g.content())
			}
			if b.CheckCRC() != nil || b.Codec() != g.codec || b.TimestampType() != CreateTime || appendTime != NoTimestamp || b.HasProducerID() || b.Count() != 3 || b.LastOffsetDelta() != 2 {
				t.Errorf("%v: batch %x, append time %d", g, []byte(b), appendTime)
			}
			if !bytes.Equal(set[:len(before)], before) {
				t.Errorf("%v: the set was changed", g)
			}
			again, _, err := ValidateForLeader(b, rules(full, func(r *LeaderRules) { b.SetBaseOffset(0) }))
			if err != nil || !bytes.Equal(again, b) {
				t.Errorf("%v: the batch itself: %v", g, err)
			}
		}
	}
}

func TestValidateConvertsToTheTopicsRules(t *testing.T) {
	for _, g := range goldenSets {
		for _, codec := range []Codec{None, Gzip, Zstd} {
			b, appendTime, err := ValidateForLeader(unhex(t, g.hex), rules(produceVersion(1), target(codec), func(r *LeaderRules) {
				if g.timestamps == CreateTime { // else it is refused
					r.TimestampType = LogAppendTime
				}
			}))
			if err != nil {
				t.Fatalf("%v to %v: %v", g, codec, err)
			}
			if b.Codec() != codec || b.Count() != 3 {
				t.Errorf("%v to %v: %v, %d records", g, codec, b.Codec(), b.Count())
			}
			if g.timestamps == CreateTime && (appendTime != now || b.MaxTimestamp() != now || b.TimestampType() != LogAppendTime) {
				t.Errorf("%v to LogAppendTime: %d, %v", g, appendTime, b.TimestampType())
			}
		}
	}
}

func TestValidateSetErrors(t *testing.T) {
	msg := func(magic int8, ts int64, key string) Message {
		var k []byte
		if key != "" {
			k = []byte(key)
		}
		return testMessage(magic, 0, 0, ts, k, []byte("value"))
	}
	v0, v1 := msg(0, 0, "k"), msg(1, goldenTime, "k")
	v2 := batchOf(t, nil, goldenTime)
	badCRC := bytes.Clone(v1)
	badCRC[12] ^= 1
	appended := testMessage(1, attrLogAppendTime, 0, NoTimestamp, nil, nil)
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	for _, tt := range []struct {
		name    string
		records []byte
		rules   func(*LeaderRules)
		want    error
	}{
		{"formats 0 and 1", join(v0, v1), nil, kerr.InvalidRecord},
		{"a batch behind messages", join(v1, v2), nil, kerr.InvalidRecord},
		{"messages behind a batch", join(v2, v1), nil, kerr.InvalidRecord},
		{"two batches", join(v2, v2), nil, kerr.InvalidRecord},
		{"two wrappers", join(wrapped(t, Gzip, 0, v1), wrapped(t, Gzip, 0, v1)), nil, kerr.InvalidRecord},
		{"a wrapper and a message", join(wrapped(t, Gzip, 0, v1), v1), nil, kerr.InvalidRecord},
		{"a message and a wrapper", join(v1, wrapped(t, Gzip, 0, v1)), nil, kerr.InvalidRecord},
		{"checksum", join(v1, badCRC), nil, kerr.CorruptMessage},
		{"checksum inside", wrapped(t, LZ4, 0, v1, badCRC), nil, kerr.CorruptMessage},
		{"other format inside", wrapped(t, Snappy, 0, v1, v0), nil, kerr.InvalidRecord},
		{"unknown codec", testMessage(1, 7, 0, goldenTime, nil, nil), nil, kerr.UnsupportedCompressionType},
		{"size 13", join(v1, make([]byte, 20)), nil, kerr.CorruptMessage},
		{"format 3", func() []byte { b := bytes.Clone(v1); b[posMagic] = 3; return b }(), nil, kerr.CorruptMessage},
		{"batch at offset 5", func() []byte { b := bytes.Clone(v2); Batch(b).SetBaseOffset(5); return b }(), nil, kerr.InvalidRecord},
		{"no key", join(v1, msg(1, goldenTime, "")), compacted, kerr.InvalidRecord},
		{"no key inside", wrapped(t, Gzip, 0, v1, msg(1, goldenTime, "")), compacted, kerr.InvalidRecord},
		{"too old", v1, bounds(10, 10), kerr.InvalidTimestamp},
		{"too old inside", wrapped(t, Gzip, 0, v1), bounds(10, 10), kerr.InvalidTimestamp},
		{"negative timestamp", msg(1, -2, "k"), nil, kerr.InvalidTimestamp},
		{"LogAppendTime without a timestamp", appended, nil, kerr.InvalidTimestamp},
		{"LogAppendTime on such a topic", testMessage(1, attrLogAppendTime, 0, goldenTime, nil, nil), logAppendTime, kerr.InvalidTimestamp},
		{"a message is too large", v1, maxBytes(int32(len(v1)) - 1), kerr.MessageTooLarge},
		{"together too large", bytes.Repeat(v1, 10), maxBytes(100), kerr.MessageTooLarge},
		{"decompressed too large", wrapped(t, Gzip, 0, testMessage(1, 0, 0, goldenTime, nil, make([]byte, 5000))), func(r *LeaderRules) { r.MaxDecompressed = 4000 }, kerr.MessageTooLarge},
		{"larger than a segment", v1, func(r *LeaderRules) { r.SegmentBytes = 50 }, kerr.RecordListTooLarge},
		// What is checked first decides.
		{"order: checksum before formats", join(v0, badCRC), nil, kerr.CorruptMessage},
		{"order: a missing key before the next format", join(msg(0, 0, ""), v1), compacted, kerr.InvalidRecord},
		{"order: the first message's timestamp", join(v1, msg(1, goldenTime, "")), func(r *LeaderRules) { compacted(r); bounds(10, 10)(r) }, kerr.InvalidTimestamp},
	} {
		r := rules(produceVersion(2))
		if tt.rules != nil {
			tt.rules(&r)
		}
		if b, _, err := ValidateForLeader(tt.records, r); !errors.Is(err, tt.want) {
			t.Errorf("%s: %x, %v; want %v", tt.name, []byte(b), err, tt.want)
		}
	}
	for name, m := range badMessages(t) {
		if _, _, err := ValidateForLeader(m, rules(produceVersion(2))); !errors.Is(err, kerr.InvalidRecord) && !errors.Is(err, kerr.CorruptMessage) && !errors.Is(err, kerr.UnsupportedCompressionType) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// All that is wrong in a compressed message is told, in a plain one's the first.
func TestValidateSetRecordErrors(t *testing.T) {
	keyless := testMessage(1, 0, 0, goldenTime, nil, []byte("v"))
	for _, tt := range []struct {
		set   []byte
		total int
		index int32
	}{
		{wrapped(t, Gzip, 2, testMessage(1, 0, 0, goldenTime, []byte("k"), nil), keyless, keyless), 2, 1},
		{slices.Concat(keyless, keyless), 1, 0},
	} {
		_, _, err := ValidateForLeader(tt.set, rules(produceVersion(2), compacted))
		var invalid *InvalidRecordError
		if !errors.As(err, &invalid) || invalid.Total != tt.total || invalid.RecordErrors[0].BatchIndex != tt.index {
			t.Errorf("%v; want %d errors from %d on", err, tt.total, tt.index)
		}
	}
}

// What the producer is told is what Kafka says.
func TestInvalidRecordText(t *testing.T) {
	reject := func(b Batch, change ...func(*LeaderRules)) *InvalidRecordError {
		t.Helper()
		_, _, err := ValidateForLeader(b, rules(append(change, func(r *LeaderRules) {
			r.Partition = protocol.TopicPartition{Topic: "t", Partition: 3}
		})...))
		var invalid *InvalidRecordError
		if !errors.As(err, &invalid) {
			t.Fatal(err)
		}
		return invalid
	}
	const one = "Compacted topic cannot accept message without key in topic partition t-3"
	e := reject(keyless(t, None, 10), compacted)
	want := fmt.Sprintf("One or more records have been rejected due to 5 record errors in total, and only showing the first three errors at most: "+
		"[RecordError(batchIndex=1, message='%s'), RecordError(batchIndex=3, message='%[1]s'), RecordError(batchIndex=5, message='%[1]s')]", one)
	if e.Text() != want || e.RecordErrors[0].Message != one {
		t.Errorf("%s\nwant %s", e.Text(), want)
	}
	e = reject(batchOf(t, nil, goldenTime, now-50, now), bounds(100, 1000))
	if want := "One or more records have been rejected due to invalid timestamp"; e.Text() != want {
		t.Errorf("%s, want %s", e.Text(), want)
	}
	if want := fmt.Sprintf("Timestamp %d of message with offset 0 is out of range. The timestamp should be within [%d, %d]", goldenTime, now-100, now+1000); e.RecordErrors[0].Message != want {
		t.Errorf("%s, want %s", e.RecordErrors[0].Message, want)
	}
}

func TestValidateByProduceVersion(t *testing.T) {
	set := testMessage(1, 0, 0, goldenTime, nil, []byte("v"))
	zstd := batchOf(t, withCodec(Zstd), goldenTime)
	for version := int16(0); version < 12; version++ {
		_, _, err := ValidateForLeader(bytes.Clone(set), rules(produceVersion(version)))
		if want := version < 3; (err == nil) != want || err != nil && !errors.Is(err, kerr.InvalidRecord) {
			t.Errorf("a message in version %d: %v", version, err)
		}
		// Before version 3 Kafka does not look, afterwards it refuses until 7.
		_, _, err = ValidateForLeader(bytes.Clone(zstd), rules(produceVersion(version)))
		if want := version < 3 || version >= 7; (err == nil) != want || err != nil && !errors.Is(err, kerr.UnsupportedCompressionType) {
			t.Errorf("zstd in version %d: %v", version, err)
		}
		b, _, err := ValidateForLeader(set[:len(set)-1], rules(produceVersion(version)))
		if want := version < 3; (err == nil) != want || b != nil {
			t.Errorf("no whole message in version %d: %x, %v", version, []byte(b), err)
		}
	}
	for _, origin := range []Origin{Coordinator, Replication} {
		if _, _, err := ValidateForLeader(set, rules(func(r *LeaderRules) { r.Origin, r.ProduceVersion = origin, 0 })); !errors.Is(err, kerr.InvalidRecord) {
			t.Errorf("origin %d: %v", origin, err)
		}
	}
}

func FuzzConvertSet(f *testing.F) {
	for _, g := range goldenSets {
		f.Add(unhex(f, g.hex), false, int8(CompressionProducer))
		f.Add(unhex(f, g.hex), true, int8(Zstd))
	}
	for _, m := range badMessages(f) {
		f.Add([]byte(m), true, int8(None))
	}
	for _, set := range recordedSets(f) {
		f.Add(set, false, int8(CompressionProducer))
	}
	f.Fuzz(func(t *testing.T, set []byte, compact bool, codec int8) {
		r := rules(produceVersion(1), func(r *LeaderRules) {
			r.Compacted, r.MaxDecompressed = compact, 1<<16
			if codec >= int8(None) && codec <= int8(Zstd) {
				r.TargetCodec = Codec(codec)
			}
		})
		before := bytes.Clone(set)
		b, _, err := ValidateForLeader(set, r)
		if err != nil || b == nil || Batch(before).Magic() > 1 {
			return // a batch of today is not opened here
		}
		// What was made passes as a batch of today, and says what the set said.
		r.ProduceVersion = 11
		r.Full = true
		if _, _, err := ValidateForLeader(bytes.Clone(b), r); err != nil {
			t.Fatalf("%x became %x: %v", before, []byte(b), err)
		}
		records := 0
		for rest := before; ; {
			m, next, err := NextEntry(rest)
			if err != nil {
				break
			}
			for r, err := range Message(m).Records(1 << 16) {
				if err != nil {
					t.Fatal(err)
				}
				_ = r
				records++
			}
			rest = next
		}
		if records != int(b.Count()) {
			t.Fatalf("%d records became %d", records, b.Count())
		}
	})
}
