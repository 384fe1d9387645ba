package record

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

const now = goldenTime + 5000

// rules are Kafka's defaults.
func rules(change ...func(*LeaderRules)) LeaderRules {
	r := LeaderRules{
		Origin:          Client,
		ProduceVersion:  11,
		MaxMessageBytes: 1048588,
		SegmentBytes:    1 << 30,
		BeforeMaxMS:     math.MaxInt64,
		AfterMaxMS:      math.MaxInt64,
		NowMS:           now,
		TargetCodec:     CompressionProducer,
		TargetLevel:     DefaultLevel,
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func compacted(r *LeaderRules)     { r.Compacted = true }
func full(r *LeaderRules)          { r.Full = true }
func logAppendTime(r *LeaderRules) { r.TimestampType = LogAppendTime }
func coordinator(r *LeaderRules)   { r.Origin = Coordinator }
func target(c Codec) func(*LeaderRules) {
	return func(r *LeaderRules) { r.TargetCodec = c }
}
func produceVersion(v int16) func(*LeaderRules) {
	return func(r *LeaderRules) { r.ProduceVersion = v }
}
func maxBytes(n int32) func(*LeaderRules) {
	return func(r *LeaderRules) { r.MaxMessageBytes = n }
}
func bounds(before, after int64) func(*LeaderRules) {
	return func(r *LeaderRules) { r.BeforeMaxMS, r.AfterMaxMS = before, after }
}

// batchOf builds a batch with one record per timestamp.
func batchOf(t testing.TB, set func(*Builder), timestamps ...int64) Batch {
	b := NewBuilder()
	if set != nil {
		set(b)
	}
	for i, ts := range timestamps {
		b.Append(ts, []byte("key"), fmt.Appendf(nil, "value %d", i))
	}
	return mustBuild(t, b)
}

func withCodec(c Codec) func(*Builder) {
	return func(b *Builder) { b.SetCodec(c, DefaultLevel) }
}

// resealed changes a batch and makes its checksum right again.
func resealed(b Batch, change func(Batch)) Batch {
	change(b)
	b.updateCRC()
	return b
}

// keyless is a batch of which the records with odd indexes have no key.
func keyless(t testing.TB, codec Codec, n int) Batch {
	b := NewBuilder().SetCodec(codec, DefaultLevel)
	for i := range n {
		key := []byte("k")
		if i%2 == 1 {
			key = nil
		}
		b.Append(goldenTime, key, []byte("v"))
	}
	return mustBuild(t, b)
}

func TestValidateRefuses(t *testing.T) {
	plain := func() Batch { return batchOf(t, nil, goldenTime, goldenTime+1) }
	for _, c := range []struct {
		name  string
		bytes []byte
		rules LeaderRules
		err   error
	}{
		{"nothing", nil, rules(), kerr.InvalidRecord},
		{"a partial batch", plain()[:70], rules(), kerr.InvalidRecord},
		{"two batches", append(plain(), plain()...), rules(), kerr.InvalidRecord},
		{"garbage after the batch", append(plain(), make([]byte, 20)...), rules(), kerr.CorruptMessage},
		{"format 1", resealed(plain(), func(b Batch) { b[posMagic] = 1 }), rules(), kerr.InvalidRecord},
		{"format 3", resealed(plain(), func(b Batch) { b[posMagic] = 3 }), rules(), kerr.CorruptMessage},
		{"base offset", batchOf(t, func(b *Builder) { b.SetBaseOffset(1) }, 1), rules(), kerr.InvalidRecord},
		{"zstd before version 7", batchOf(t, withCodec(Zstd), 1), rules(produceVersion(6)), kerr.UnsupportedCompressionType},
		{"codec 5", resealed(plain(), func(b Batch) { b[posAttributes+1] = 5 }), rules(), kerr.UnsupportedCompressionType},
		{"too large", plain(), rules(maxBytes(int32(len(plain()) - 1))), kerr.MessageTooLarge},
		{"larger than a segment", plain(), rules(func(r *LeaderRules) { r.SegmentBytes = 50 }), kerr.RecordListTooLarge},
		{"too large and corrupt", plain()[:], rules(maxBytes(10)), kerr.MessageTooLarge},
		{"checksum", func() Batch { b := plain(); b[len(b)-1]++; return b }(), rules(), kerr.CorruptMessage},
		{"no records", resealed(plain(), func(b Batch) { b[posCount+3] = 0 }), rules(), kerr.InvalidRecord},
		{"count above offsets", resealed(plain(), func(b Batch) { b[posCount+3] = 3 }), rules(), kerr.InvalidRecord},
		{"offsets above count", resealed(plain(), func(b Batch) { b[posLastOffsetDelta+3] = 7 }), rules(), kerr.InvalidRecord},
		{"negative last offset", resealed(plain(), func(b Batch) { b[posLastOffsetDelta] = 0xff }), rules(), kerr.InvalidRecord},
		{"fewer records than said", resealed(plain(), func(b Batch) { b[posCount+3], b[posLastOffsetDelta+3] = 3, 2 }), rules(), kerr.InvalidRecord},
		{"more records than said", resealed(plain(), func(b Batch) { b[posCount+3], b[posLastOffsetDelta+3] = 1, 0 }), rules(), kerr.InvalidRecord},
		{"control", batchOf(t, func(b *Builder) { b.SetControl() }, 1), rules(), kerr.InvalidRecord},
		{"producer without sequence", batchOf(t, func(b *Builder) { b.SetProducer(1, 1, -1) }, 1), rules(), kerr.InvalidRecord},
		{"no key", keyless(t, None, 2), rules(compacted), kerr.InvalidRecord},
		{"no key, compressed", keyless(t, LZ4, 2), rules(compacted), kerr.InvalidRecord},
		{"timestamp too old", batchOf(t, nil, now-101), rules(bounds(100, 100)), kerr.InvalidTimestamp},
		{"timestamp too new", batchOf(t, nil, now+101), rules(bounds(100, 100)), kerr.InvalidTimestamp},
		{"timestamp before 1970", batchOf(t, nil, math.MinInt64+5), rules(bounds(100, 100)), kerr.InvalidTimestamp},
		{"timestamp at the end of time", batchOf(t, nil, math.MaxInt64), rules(bounds(100, 100)), kerr.InvalidTimestamp},
		{"timestamp too new, compressed", batchOf(t, withCodec(Gzip), now, now+101), rules(bounds(math.MaxInt64, 100)), kerr.InvalidTimestamp},
		{"marked LogAppendTime", batchOf(t, func(b *Builder) { b.SetLogAppendTime(5) }, 5), rules(logAppendTime), kerr.InvalidTimestamp},
		{"marked LogAppendTime, compressed", batchOf(t, func(b *Builder) { b.SetLogAppendTime(5).SetCodec(Snappy, 0) }, 5), rules(logAppendTime), kerr.InvalidTimestamp},
		{"marked LogAppendTime without time", batchOf(t, func(b *Builder) { b.SetLogAppendTime(-1) }, 5), rules(), kerr.InvalidTimestamp},
		{"not really compressed", resealed(plain(), func(b Batch) { b[posAttributes+1] = byte(Zstd) }), rules(full), kerr.CorruptMessage},
		{"bomb", batchOf(t, func(b *Builder) {
			b.SetCodec(Zstd, DefaultLevel)
			b.Append(1, nil, make([]byte, 1<<20))
		}, 1), rules(full, func(r *LeaderRules) { r.MaxDecompressed = 1 << 16 }), kerr.MessageTooLarge},
		{"grows beyond the limit", batchOf(t, func(b *Builder) {
			b.SetCodec(Zstd, DefaultLevel)
			b.Append(1, nil, make([]byte, 1<<20))
		}, 1), rules(target(None), maxBytes(1000)), kerr.MessageTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := ValidateForLeader(bytes.Clone(c.bytes), c.rules)
			if !errors.Is(err, c.err) || got != nil {
				t.Errorf("%d bytes, error %v; want %v", len(got), err, c.err)
			}
		})
	}
}

// TestValidateKeepsBytes appends what needs no change: not a byte may differ, and
// a partial batch behind it is cut off.
func TestValidateKeepsBytes(t *testing.T) {
	for _, codec := range allCodecs {
		for _, r := range []LeaderRules{rules(), rules(full), rules(compacted), rules(bounds(1e6, 1e6)), rules(target(codec))} {
			in := batchOf(t, withCodec(codec), goldenTime, goldenTime+1, goldenTime-1)
			sent := append(bytes.Clone(in), in[:60]...)
			got, appendTime, err := ValidateForLeader(sent, r)
			if err != nil || appendTime != NoTimestamp {
				t.Fatalf("%v: append time %d, %v", codec, appendTime, err)
			}
			if !bytes.Equal(got, in) || &got[0] != &sent[0] {
				t.Errorf("%v: %x\nbecame %x", codec, []byte(in), []byte(got))
			}
		}
	}
}

// TestValidateBorderTimestamps accepts what is exactly at the bounds, and a
// missing timestamp whatever the bounds.
func TestValidateBorderTimestamps(t *testing.T) {
	for _, ts := range []int64{now - 100, now, now + 100, NoTimestamp} {
		if _, _, err := ValidateForLeader(batchOf(t, nil, ts), rules(bounds(100, 100))); err != nil {
			t.Errorf("timestamp now%+d: %v", ts-now, err)
		}
	}
}

func TestValidateSetsLogAppendTime(t *testing.T) {
	for _, codec := range allCodecs {
		in := batchOf(t, withCodec(codec), goldenTime, goldenTime+1)
		payload := bytes.Clone(in.Payload())
		got, appendTime, err := ValidateForLeader(in, rules(logAppendTime))
		if err != nil {
			t.Fatal(err)
		}
		if appendTime != now || got.MaxTimestamp() != now || got.TimestampType() != LogAppendTime || got.BaseTimestamp() != goldenTime {
			t.Errorf("%v: append time %d, max %d, %v", codec, appendTime, got.MaxTimestamp(), got.TimestampType())
		}
		if !bytes.Equal(got.Payload(), payload) || got.CheckCRC() != nil {
			t.Errorf("%v: payload changed or checksum wrong: %v", codec, got.CheckCRC())
		}
	}
}

// TestValidateCorrectsMaxTimestamp: the records are right, the header is not. A
// compressed batch is only opened for it if all are, or if the header has no
// timestamp.
func TestValidateCorrectsMaxTimestamp(t *testing.T) {
	wrong := func(codec Codec, ms int64) Batch {
		b := batchOf(t, withCodec(codec), goldenTime, goldenTime+7)
		b.SetMaxTimestamp(ms, CreateTime)
		return b
	}
	for _, c := range []struct {
		name  string
		in    Batch
		rules LeaderRules
		want  int64
	}{
		{"uncompressed", wrong(None, 5), rules(), goldenTime + 7},
		{"compressed", wrong(LZ4, 5), rules(), 5},
		{"compressed, full", wrong(LZ4, 5), rules(full), goldenTime + 7},
		{"compressed, absent", wrong(LZ4, NoTimestamp), rules(), goldenTime + 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := ValidateForLeader(c.in, c.rules)
			if err != nil || got.MaxTimestamp() != c.want || got.CheckCRC() != nil {
				t.Errorf("max timestamp %d, %v, %v; want %d", got.MaxTimestamp(), err, got.CheckCRC(), c.want)
			}
		})
	}
}

// TestValidateClearsLogAppendTime: on a CreateTime topic a batch that claims
// LogAppendTime is taken, without the claim.
func TestValidateClearsLogAppendTime(t *testing.T) {
	got, _, err := ValidateForLeader(batchOf(t, func(b *Builder) { b.SetLogAppendTime(goldenTime) }, 1), rules())
	if err != nil || got.TimestampType() != CreateTime || got.MaxTimestamp() != goldenTime {
		t.Errorf("%v, %v, %d", err, got.TimestampType(), got.MaxTimestamp())
	}
}

func TestValidateChangesCodec(t *testing.T) {
	for _, from := range allCodecs {
		for _, to := range allCodecs {
			set := func(b *Builder) { b.SetCodec(from, DefaultLevel).SetProducer(9, 8, 7).SetTransactional(true) }
			in := batchOf(t, set, goldenTime, goldenTime+9, goldenTime+1)
			got, _, err := ValidateForLeader(bytes.Clone(in), rules(target(to)))
			if err != nil {
				t.Fatalf("%v to %v: %v", from, to, err)
			}
			if got.Codec() != to || got.CheckCRC() != nil || got.ProducerID() != 9 || got.ProducerEpoch() != 8 || got.BaseSequence() != 7 ||
				!got.IsTransactional() || got.MaxTimestamp() != goldenTime+9 || got.Count() != 3 || got.LastOffsetDelta() != 2 {
				t.Errorf("%v to %v: %v, %+v", from, to, got.CheckCRC(), got)
			}
			if want, have := content(t, in), content(t, got); want != have {
				t.Errorf("%v to %v: records %s became %s", from, to, want, have)
			}
		}
	}
}

func TestValidateRecompressesWithAppendTime(t *testing.T) {
	got, appendTime, err := ValidateForLeader(batchOf(t, nil, 1, 2), rules(target(Zstd), logAppendTime))
	if err != nil || appendTime != now || got.MaxTimestamp() != now || got.TimestampType() != LogAppendTime || got.Codec() != Zstd {
		t.Errorf("append time %d, max %d, %v: %v", appendTime, got.MaxTimestamp(), got.TimestampType(), err)
	}
}

func content(t testing.TB, b Batch) string {
	var s strings.Builder
	for r, err := range b.Records(1 << 20) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&s, "%d@%d:%q=%q ", b.Offset(r), b.Timestamp(r), r.Key, r.Value)
	}
	return s.String()
}

// TestValidatePutsOffsetsInOrder: some old clients number the records of a batch
// wrongly, and Kafka corrects instead of refusing them.
func TestValidatePutsOffsetsInOrder(t *testing.T) {
	for _, codec := range []Codec{None, Gzip} {
		builder := NewBuilder().SetCodec(codec, DefaultLevel)
		builder.Append(1, nil, []byte("a"))
		builder.count = 5 // the next record gets offset 5
		builder.Append(2, nil, []byte("b"))
		builder.count = 2
		got, _, err := ValidateForLeader(mustBuild(t, builder), rules(full))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := content(t, got), `0@1:""="a" 1@2:""="b" `; got != want {
			t.Errorf("%v: %s, want %s", codec, got, want)
		}
	}
}

func TestValidateCoordinator(t *testing.T) {
	marker := EndTxnMarker(5, 1, 2, true, 3)
	got, _, err := ValidateForLeader(bytes.Clone(marker), rules(coordinator, target(Gzip), compacted))
	if err != nil || !bytes.Equal(got, marker) {
		t.Errorf("marker became %x, %v", []byte(got), err)
	}
	noSequence := batchOf(t, func(b *Builder) { b.SetProducer(5, 1, NoSequence).SetBaseOffset(9) }, 1)
	if _, _, err := ValidateForLeader(noSequence, rules(coordinator)); err != nil {
		t.Error(err)
	}
}

func TestRecordErrors(t *testing.T) {
	_, _, err := ValidateForLeader(keyless(t, None, 5), rules(compacted))
	var invalid *InvalidRecordError
	if !errors.As(err, &invalid) || invalid.Total != 2 || len(invalid.RecordErrors) != 2 || invalid.RecordErrors[0].BatchIndex != 1 || invalid.RecordErrors[1].BatchIndex != 3 {
		t.Fatalf("%#v", err)
	}
	_, _, err = ValidateForLeader(keyless(t, None, 10_000), rules(compacted))
	if !errors.As(err, &invalid) || invalid.Total != 5000 || len(invalid.RecordErrors) != maxRecordErrors {
		t.Fatalf("%v", err)
	}
}

func FuzzValidate(f *testing.F) {
	for _, codec := range allCodecs {
		f.Add([]byte(batchOf(f, withCodec(codec), goldenTime, goldenTime+1)), uint8(codec), true, false)
	}
	f.Add(unhex(f, goldenCommit), uint8(0), true, true)
	for _, set := range recordedSets(f) {
		f.Add(set, uint8(0), true, false)
	}
	f.Fuzz(func(t *testing.T, in []byte, codec uint8, isFull, isCoordinator bool) {
		if len(in) >= HeaderSize { // or hardly any input would pass the checksum
			if b, _, err := Next(in); err == nil {
				b.updateCRC()
			}
		}
		r := rules(target(Codec(codec%6)-1), func(r *LeaderRules) { r.Full, r.MaxDecompressed = isFull, 1<<16 })
		if isCoordinator {
			r.Origin = Coordinator
		}
		got, _, err := ValidateForLeader(in, r)
		if err != nil {
			return
		}
		if b, rest, err := Next(got); err != nil || len(rest) != 0 || b.CheckCRC() != nil {
			t.Fatalf("accepted, and then: %v, %d bytes too many, %v", err, len(rest), b.CheckCRC())
		}
		if _, _, err := ValidateForLeader(bytes.Clone(got), r); err != nil {
			t.Fatalf("accepted once, then refused: %v", err)
		}
		if !isFull && got.Codec() != None {
			return
		}
		n := int32(0)
		for r, err := range got.Records(1 << 17) {
			if err != nil || r.OffsetDelta != n {
				t.Fatalf("record %d with offset %d: %v", n, r.OffsetDelta, err)
			}
			n++
		}
	})
}
