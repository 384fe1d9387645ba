package record

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The bytes that Kafka 3.9's own classes write at time 1700000000000.
const (
	goldenTime   = 1700000000000
	goldenBatch  = "00000000000000000000003affffffff02e99b8dd80000000000000000018bcfe568000000018bcfe56800ffffffffffffffffffffffffffff0000000110000000026b027600"
	goldenCommit = "0000000000000000000000420000000502809c88c40030000000000000018bcfe568000000018bcfe5680000000000000003e80002ffffffff000000012000000008000000010c00000000000700"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustBuild(t testing.TB, b *Builder) Batch {
	t.Helper()
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

func TestBuildGolden(t *testing.T) {
	b := NewBuilder()
	b.Append(goldenTime, []byte("k"), []byte("v"))
	if got := mustBuild(t, b); !bytes.Equal(got, unhex(t, goldenBatch)) {
		t.Errorf("built %x\nwant  %s", []byte(got), goldenBatch)
	}
}

func TestMarkerGolden(t *testing.T) {
	m := EndTxnMarker(1000, 2, 7, true, goldenTime)
	m.SetLeaderEpoch(5)
	if !bytes.Equal(m, unhex(t, goldenCommit)) {
		t.Errorf("built %x\nwant  %s", []byte(m), goldenCommit)
	}
	got, ok, err := ParseMarker(m)
	if want := (Marker{ControlCommit, 7}); got != want || !ok || err != nil {
		t.Errorf("ParseMarker = %+v, %v, %v", got, ok, err)
	}
	abort, _, _ := ParseMarker(EndTxnMarker(1, 1, 3, false, 1))
	if want := (Marker{ControlAbort, 3}); abort != want {
		t.Errorf("abort marker reads as %+v", abort)
	}
}

func TestParseMarkerOfOtherControlRecords(t *testing.T) {
	control := func(key, value []byte) Batch {
		b := NewBuilder().SetControl()
		b.Append(1, key, value)
		return mustBuild(t, b)
	}
	for name, tc := range map[string]struct {
		batch Batch
		bad   bool
	}{
		"emptied by compaction": {mustBuild(t, NewBuilder().SetControl()), false},
		"leader change":         {control([]byte{0, 0, 0, 2}, []byte{0, 0}), false},
		"short key":             {control([]byte{0, 0, 0}, nil), true},
		"short value":           {control([]byte{0, 0, 0, 0}, []byte{0, 0, 0}), true},
		"negative key version":  {control([]byte{0xff, 0xff, 0, 0}, make([]byte, 6)), true},
	} {
		t.Run(name, func(t *testing.T) {
			_, ok, err := ParseMarker(tc.batch)
			if ok || (err != nil) != tc.bad || tc.bad && !errors.Is(err, kerr.InvalidRecord) {
				t.Errorf("ok %v, error %v", ok, err)
			}
		})
	}
}

// TestAccessors compares every accessor with kmsg's decoder of the same bytes.
func TestAccessors(t *testing.T) {
	b := NewBuilder().SetBaseOffset(1<<40+5).SetLeaderEpoch(17).SetCodec(Gzip, DefaultLevel).
		SetProducer(1<<33+1, 300, math.MaxInt32-1).SetTransactional(true).SetLogAppendTime(99)
	for i := range 4 {
		b.Append(int64(50-i), nil, []byte{byte(i)})
	}
	got := mustBuild(t, b)
	var want kmsg.RecordBatch
	if err := want.ReadFrom(got); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"BaseOffset", got.BaseOffset(), want.FirstOffset},
		{"LastOffset", got.LastOffset(), want.FirstOffset + 3},
		{"NextOffset", got.NextOffset(), want.FirstOffset + 4},
		{"Size", got.Size(), len(got)},
		{"LeaderEpoch", got.LeaderEpoch(), want.PartitionLeaderEpoch},
		{"Magic", got.Magic(), want.Magic},
		{"CRC", got.CRC(), uint32(want.CRC)},
		{"Attributes", got.Attributes(), want.Attributes},
		{"Codec", got.Codec(), Gzip},
		{"TimestampType", got.TimestampType(), LogAppendTime},
		{"IsTransactional", got.IsTransactional(), true},
		{"IsControl", got.IsControl(), false},
		{"HasDeleteHorizon", got.HasDeleteHorizon(), false},
		{"LastOffsetDelta", got.LastOffsetDelta(), want.LastOffsetDelta},
		{"BaseTimestamp", got.BaseTimestamp(), want.FirstTimestamp},
		{"MaxTimestamp", got.MaxTimestamp(), want.MaxTimestamp},
		{"ProducerID", got.ProducerID(), want.ProducerID},
		{"HasProducerID", got.HasProducerID(), true},
		{"ProducerEpoch", got.ProducerEpoch(), want.ProducerEpoch},
		{"BaseSequence", got.BaseSequence(), want.FirstSequence},
		{"LastSequence", got.LastSequence(), int32(1)}, // 2³¹−2, 2³¹−1, 0, 1
		{"Count", got.Count(), want.NumRecords},
		{"Payload", string(got.Payload()), string(want.Records)},
	} {
		if c.got != c.want {
			t.Errorf("%s = %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestSequenceArithmetic(t *testing.T) {
	const top = math.MaxInt32
	for _, c := range []struct{ base, delta, last int32 }{
		{0, 0, 0}, {0, 9, 9}, {5, top - 5, top}, {top, 0, top}, {top, 1, 0}, {top - 1, 5, 3}, {top, top, top - 1},
	} {
		if got := AddSequence(c.base, c.delta); got != c.last {
			t.Errorf("AddSequence(%d, %d) = %d, want %d", c.base, c.delta, got, c.last)
		}
		if got := SubtractSequence(c.last, c.delta); got != c.base {
			t.Errorf("SubtractSequence(%d, %d) = %d, want %d", c.last, c.delta, got, c.base)
		}
	}
}

func TestPatchingLeavesChecksumValid(t *testing.T) {
	b := Batch(unhex(t, goldenBatch))
	crc := b.CRC()
	b.SetBaseOffset(77)
	b.SetLeaderEpoch(3)
	if b.BaseOffset() != 77 || b.LeaderEpoch() != 3 || b.CRC() != crc || b.CheckCRC() != nil {
		t.Errorf("offset %d, epoch %d, checksum %x: %v", b.BaseOffset(), b.LeaderEpoch(), b.CRC(), b.CheckCRC())
	}
	b.SetMaxTimestamp(goldenTime, CreateTime) // as it is
	if b.CRC() != crc {
		t.Error("setting the same timestamp changed the checksum")
	}
	b.SetMaxTimestamp(goldenTime+1, LogAppendTime)
	if b.MaxTimestamp() != goldenTime+1 || b.TimestampType() != LogAppendTime || b.CRC() == crc || b.CheckCRC() != nil {
		t.Errorf("timestamp %d, type %v: %v", b.MaxTimestamp(), b.TimestampType(), b.CheckCRC())
	}
	b.SetMaxTimestamp(goldenTime, CreateTime)
	if b.CRC() != crc {
		t.Error("going back did not restore the checksum")
	}
}

// TestCheckCRCSeesEveryBit flips each bit of a batch: those of base offset,
// length, leader epoch and magic are outside of the checksum, all others inside.
func TestCheckCRCSeesEveryBit(t *testing.T) {
	b := Batch(unhex(t, goldenBatch))
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		err := b.CheckCRC()
		if covered := i/8 >= posCRC; covered != errors.Is(err, kerr.CorruptMessage) {
			t.Errorf("bit %d of byte %d flipped: %v", i%8, i/8, err)
		}
		b[i/8] ^= 1 << (i % 8)
	}
}

func TestNext(t *testing.T) {
	one := unhex(t, goldenBatch)
	with := func(pos int, v byte) []byte {
		b := bytes.Clone(one)
		b[pos] = v
		return b
	}
	legacy := append(make([]byte, 11), 14, 0, 0, 0, 0, 1)
	legacy = append(legacy, make([]byte, 9)...)
	for _, c := range []struct {
		name string
		buf  []byte
		size int
		err  error
	}{
		{"empty", nil, 0, ErrTruncated},
		{"inside the length", one[:11], 0, ErrTruncated},
		{"before the magic", one[:16], 0, ErrTruncated},
		{"inside the records", one[:len(one)-1], 0, ErrTruncated},
		{"whole", one, len(one), nil},
		{"two", append(bytes.Clone(one), one...), len(one), nil},
		{"negative length", with(posLength, 0xff), 0, kerr.CorruptMessage},
		{"length below any message", with(posLength+3, 13), 0, kerr.CorruptMessage},
		{"length below the header", with(posLength+3, HeaderSize-LogOverhead-1), 0, kerr.CorruptMessage},
		{"length of 2 GiB", with(posLength, 0x7f), 0, ErrTruncated},
		{"format 3", with(posMagic, 3), 0, kerr.CorruptMessage},
		{"format -1", with(posMagic, 0xff), 0, kerr.CorruptMessage},
		{"format 1", legacy, 26, ErrUnsupportedMagic},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, rest, err := Next(c.buf)
			if !errors.Is(err, c.err) || len(b) != c.size {
				t.Fatalf("%d bytes, error %v; want %d, %v", len(b), err, c.size, c.err)
			}
			if c.size > 0 && (len(rest) != len(c.buf)-c.size || cap(b) != c.size || b.Size() != c.size) {
				t.Errorf("rest of %d bytes, capacity %d, Size %d", len(rest), cap(b), b.Size())
			}
		})
	}
}

func FuzzNext(f *testing.F) {
	f.Add(unhex(f, goldenBatch))
	f.Add(append(unhex(f, goldenBatch), unhex(f, goldenCommit)...))
	f.Add(make([]byte, 40))
	for _, set := range recordedSets(f) {
		f.Add(set)
	}
	f.Fuzz(func(t *testing.T, buf []byte) {
		total := 0
		for rest := buf; ; {
			b, next, err := Next(rest)
			if err != nil && !errors.Is(err, ErrUnsupportedMagic) {
				break
			}
			if len(b) != b.Size() || !bytes.Equal(b, buf[total:total+len(b)]) {
				t.Fatalf("batch of %d bytes, its length says %d", len(b), b.Size())
			}
			if total += len(b); total+len(next) != len(buf) {
				t.Fatalf("%d + %d of %d bytes", total, len(next), len(buf))
			}
			if err == nil { // none of these may panic
				_, _, _, _ = b.LastOffset(), b.LastSequence(), b.CheckCRC(), b.Codec().String()
				_, _, _ = ParseMarker(b)
			}
			rest = next
		}
	})
}
