package record

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var allCodecs = []Codec{None, Gzip, Snappy, LZ4, Zstd}

// testRecord is a record as a test states it.
type testRecord struct {
	ts         int64
	key, value []byte
	headers    []Header
}

func someRecords(r *rand.Rand, n int) []testRecord {
	bytesOf := func(max int) []byte {
		if r.IntN(5) == 0 {
			return nil
		}
		b := make([]byte, r.IntN(max))
		for i := range b {
			b[i] = byte(r.IntN(4)) // compressible
		}
		return b
	}
	out := make([]testRecord, n)
	for i := range out {
		out[i] = testRecord{ts: r.Int64N(1 << 42), key: bytesOf(40), value: bytesOf(300)}
		for range r.IntN(3) {
			out[i].headers = append(out[i].headers, Header{Key: []byte{byte(r.IntN(256))}, Value: bytesOf(20)})
		}
	}
	return out
}

func TestRecordsRoundTrip(t *testing.T) {
	for _, codec := range allCodecs {
		for _, n := range []int{1, 2, 200} {
			t.Run(fmt.Sprintf("%v/%d", codec, n), func(t *testing.T) {
				want := someRecords(rand.New(rand.NewPCG(1, uint64(n))), n)
				builder := NewBuilder().SetBaseOffset(1000).SetCodec(codec, DefaultLevel)
				for _, r := range want {
					builder.Append(r.ts, r.key, r.value, r.headers...)
				}
				if codec == None && builder.Size() != len(mustBuild(t, builder)) {
					t.Errorf("Size %d, built %d", builder.Size(), len(mustBuild(t, builder)))
				}
				b := mustBuild(t, builder)
				if b.Codec() != codec || int(b.Count()) != n || b.CheckCRC() != nil {
					t.Fatalf("codec %v, %d records, %v", b.Codec(), b.Count(), b.CheckCRC())
				}
				i, latest := 0, int64(math.MinInt64)
				for r, err := range b.Records(1 << 20) {
					if err != nil {
						t.Fatal(err)
					}
					w := want[i]
					latest = max(latest, w.ts)
					if b.Offset(r) != 1000+int64(i) || b.Timestamp(r) != w.ts || !sameBytes(r.Key, w.key) || !sameBytes(r.Value, w.value) {
						t.Fatalf("record %d: offset %d, timestamp %d, %q = %q", i, b.Offset(r), b.Timestamp(r), r.Key, r.Value)
					}
					h := 0
					for got := range r.Headers() {
						if !bytes.Equal(got.Key, w.headers[h].Key) || !sameBytes(got.Value, w.headers[h].Value) {
							t.Fatalf("record %d, header %d: %+v", i, h, got)
						}
						h++
					}
					if h != len(w.headers) || int(r.HeaderCount) != h {
						t.Fatalf("record %d: %d of %d headers", i, h, len(w.headers))
					}
					i++
				}
				if i != n || b.MaxTimestamp() != latest {
					t.Errorf("%d records, latest timestamp %d; want %d, %d", i, b.MaxTimestamp(), n, latest)
				}
			})
		}
	}
}

// sameBytes keeps null and empty apart.
func sameBytes(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

// TestRecordsAgainstKmsg lets franz-go's decoder read what the builder writes.
func TestRecordsAgainstKmsg(t *testing.T) {
	b := NewBuilder()
	b.Append(5, nil, []byte{}, Header{Key: []byte("h")}, Header{Key: []byte{}, Value: []byte("x")})
	b.Append(3, []byte("key"), nil)
	payload := mustBuild(t, b).Payload()
	var r kmsg.Record
	if err := r.ReadFrom(payload); err != nil {
		t.Fatal(err)
	}
	if r.Key != nil || r.Value == nil || len(r.Value) != 0 || len(r.Headers) != 2 || r.Headers[0].Key != "h" || r.Headers[0].Value != nil || string(r.Headers[1].Value) != "x" {
		t.Errorf("first record reads as %+v", r)
	}
	if err := r.ReadFrom(payload[int(r.Length)+1:]); err != nil {
		t.Fatal(err)
	}
	if string(r.Key) != "key" || r.Value != nil || r.TimestampDelta64 != -2 || r.OffsetDelta != 1 {
		t.Errorf("second record reads as %+v", r)
	}
}

func TestMalformedRecords(t *testing.T) {
	good := func() Batch {
		b := NewBuilder()
		b.Append(1, []byte("k"), []byte("v"), Header{Key: []byte("h"), Value: []byte("w")})
		b.Append(1, []byte("k"), []byte("v"))
		return mustBuild(t, b)
	}
	// The first record: 0 length, 1 attributes, 2 timestamp, 3 offset, 4 key
	// length, 5 key, 6 value length, 7 value, 8 headers, 9 key length, ...
	at := func(i int, v byte) Batch {
		b := good()
		b[HeaderSize+i] = v
		return b
	}
	count := func(n byte) Batch {
		b := good()
		b[posCount+3] = n
		return b
	}
	single := func(record ...byte) Batch {
		b := append(good()[:HeaderSize], record...)
		b[posCount+3] = 1
		return b
	}
	// Attributes, two deltas, no key, no value, no headers: this one is well.
	for _, err := range single(12, 0, 0, 0, 1, 1, 0).Records(100) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range map[string]Batch{
		"byte left in a record": single(14, 0, 0, 0, 1, 1, 0, 0),
		"header key is null":    single(16, 0, 0, 0, 1, 1, 2, 1, 1),
		"length too long":       at(0, 126),
		"length too short":      at(0, 20),
		"length zero":           at(0, 0),
		"length negative":       at(0, 1),
		"key beyond the end":    at(4, 126),
		"value beyond the end":  at(6, 126),
		"negative headers":      at(8, 1),
		"too many headers":      at(8, 4),
		"header without key":    at(9, 1),
		"one record too many":   count(3),
		"one record too few":    count(1),
		"no records":            count(0),
		"negative count":        func() Batch { b := good(); b[posCount] = 0xff; return b }(),
		"cut off":               good()[:len(good())-1],
		"garbage after":         append(good(), 0),
	} {
		t.Run(name, func(t *testing.T) {
			var last error
			n := 0
			for _, err := range b.Records(1 << 20) {
				if last != nil {
					t.Error("the iteration went on after an error")
				}
				last = err
				n++
			}
			if !errors.Is(last, kerr.InvalidRecord) {
				t.Errorf("%d records, then %v", n, last)
			}
		})
	}
}

func TestVarints(t *testing.T) {
	for _, v := range []int64{0, -1, 1, -64, 64, 8191, -8192, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64} {
		b := appendVarint(nil, v)
		if got, n := varlong(b, 0); got != v || n != len(b) || varintSize(v) != n {
			t.Errorf("varlong of %d: %d in %d bytes, size %d", v, got, n, varintSize(v))
		}
		got, n := varint(b, 0)
		if fits := v == int64(int32(v)); fits && (int64(got) != v || n != len(b)) || !fits && n != 0 {
			t.Errorf("varint of %d: %d in %d bytes", v, got, n)
		}
		for i := range b {
			if _, n := varlong(b[:i], 0); n != 0 {
				t.Errorf("varlong of the first %d bytes of %x took %d", i, b, n)
			}
		}
	}
	if _, n := varint([]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0}, 0); n != 0 {
		t.Error("a varint of six bytes was accepted")
	}
}

// FuzzRecords walks arbitrary payloads in all codecs; what can be walked must
// survive being built again.
func FuzzRecords(f *testing.F) {
	for _, codec := range allCodecs {
		b := NewBuilder().SetCodec(codec, DefaultLevel)
		b.Append(1, []byte("k"), []byte("v"), Header{Key: []byte("h")})
		b.Append(2, nil, nil)
		batch := mustBuild(f, b)
		f.Add(uint8(codec), batch.Count(), []byte(batch.Payload()))
	}
	for _, set := range recordedSets(f) {
		if b, _, err := Next(set); err == nil {
			f.Add(uint8(b.Codec()), b.Count(), b.Payload())
		}
	}
	f.Fuzz(func(t *testing.T, codec uint8, count int32, payload []byte) {
		b := mustBuild(t, NewBuilder().SetCodec(Codec(codec%8), 0))
		b = append(b, payload...)
		b[posCount], b[posCount+1], b[posCount+2], b[posCount+3] = byte(count>>24), byte(count>>16), byte(count>>8), byte(count)
		again := NewBuilder()
		n := 0
		for r, err := range b.Records(1 << 16) {
			if err != nil {
				return
			}
			headers := 0
			for range r.Headers() {
				headers++
			}
			if headers != int(r.HeaderCount) {
				t.Fatalf("%d of %d headers", headers, r.HeaderCount)
			}
			again.appendRecord(b.Timestamp(r), &r)
			n++
		}
		if n != int(b.Count()) {
			t.Fatalf("%d records without an error, the header says %d", n, b.Count())
		}
		for _, err := range mustBuild(t, again).Records(1 << 20) {
			if err != nil {
				t.Fatalf("built again: %v", err)
			}
		}
	})
}
