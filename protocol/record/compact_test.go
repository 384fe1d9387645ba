package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

const maxTestPayload = 1 << 20

// compactible is a batch of five records at offset 100; that at 102 is a tombstone.
func compactible(t testing.TB, codec Codec, timestamps TimestampType) Batch {
	b := NewBuilder().SetBaseOffset(100).SetLeaderEpoch(3).SetProducer(1000, 2, 5).SetTransactional(true).SetCodec(codec, DefaultLevel)
	if timestamps == LogAppendTime {
		b.SetLogAppendTime(goldenTime + 9000)
	}
	for i := range 5 {
		value := fmt.Appendf(nil, "value %d", i)
		if i == 2 {
			value = nil
		}
		b.Append(goldenTime+int64(10*i), fmt.Appendf(nil, "k%d", i), value, Header{Key: []byte("h"), Value: []byte{byte(i)}}, Header{Key: []byte("none")})
	}
	return mustBuild(t, b)
}

// compactibleContent is the content of some of its records.
func compactibleContent(timestamps TimestampType, offsets ...int64) (text string) {
	for _, o := range offsets {
		ts := goldenTime + 10*(o-100)
		if timestamps == LogAppendTime {
			ts = goldenTime + 9000
		}
		value := fmt.Sprintf(`"value %d"`, o-100)
		if o == 102 {
			value = `""`
		}
		text += fmt.Sprintf(`%d@%d:"k%d"=%s `, o, ts, o-100, value)
	}
	return text
}

func only(offsets ...int64) func(Outline) bool {
	return func(o Outline) bool {
		for _, offset := range offsets {
			if o.Offset == offset {
				return true
			}
		}
		return false
	}
}

func TestRetain(t *testing.T) {
	var c Compactor
	for codec := None; codec <= Zstd; codec++ {
		for _, timestamps := range []TimestampType{CreateTime, LogAppendTime} {
			for _, keep := range [][]int64{{100}, {104}, {101, 103}, {100, 101, 102, 103, 104}, {102}, {100, 102, 104}} {
				b := compactible(t, codec, timestamps)
				const horizon = goldenTime + 86_400_000
				prefix := []byte("before")
				out, kept, err := c.Retain(prefix, b, maxTestPayload, Horizon{MS: horizon}, only(keep...))
				if err != nil || !bytes.HasPrefix(out, prefix) {
					t.Fatal(err)
				}
				n, rest, err := Next(out[len(prefix):])
				if err != nil || len(rest) > 0 || n.CheckCRC() != nil {
					t.Fatalf("%v %v: %v, %d bytes too many, %v", codec, keep, err, len(rest), n.CheckCRC())
				}
				if got, want := content(t, n), compactibleContent(timestamps, keep...); got != want || kept.Records != len(keep) {
					t.Errorf("%v %v: %d records %s\nwant %s", codec, keep, kept.Records, got, want)
				}
				checkHeader(t, n, b, timestamps, keep)
				tombstone := only(keep...)(Outline{Offset: 102})
				if ms, has := n.DeleteHorizon(); has != tombstone || has && ms != horizon {
					t.Errorf("%v %v: horizon %d, %v", codec, keep, ms, has)
				}
				if whole := len(keep) == 5; kept.Whole != (whole && !tombstone) {
					t.Errorf("%v %v: whole %v", codec, keep, kept.Whole)
				}
				checkHeaders(t, n)
			}
		}
	}
}

// checkHeader: whatever is left of a batch, its header stays.
func checkHeader(t *testing.T, n, b Batch, timestamps TimestampType, keep []int64) {
	t.Helper()
	newest := goldenTime + 10*(keep[len(keep)-1]-100)
	if timestamps == LogAppendTime {
		newest = goldenTime + 9000
	}
	if n.BaseOffset() != b.BaseOffset() || n.LastOffset() != b.LastOffset() || n.LeaderEpoch() != b.LeaderEpoch() ||
		n.ProducerID() != b.ProducerID() || n.ProducerEpoch() != b.ProducerEpoch() || n.BaseSequence() != b.BaseSequence() ||
		n.Codec() != b.Codec() || n.TimestampType() != b.TimestampType() || !n.IsTransactional() || n.IsControl() ||
		n.MaxTimestamp() != newest || int(n.Count()) != len(keep) {
		t.Errorf("%v %v: header %x instead of %x", b.Codec(), keep, []byte(n[:HeaderSize]), []byte(b[:HeaderSize]))
	}
}

func checkHeaders(t *testing.T, b Batch) {
	t.Helper()
	for r, err := range b.Records(maxTestPayload) {
		if err != nil {
			t.Fatal(err)
		}
		var headers []Header
		for h := range r.Headers() {
			headers = append(headers, Header{Key: bytes.Clone(h.Key), Value: bytes.Clone(h.Value)})
		}
		if len(headers) != 2 || !bytes.Equal(headers[0].Value, []byte{byte(r.OffsetDelta)}) || string(headers[1].Key) != "none" || headers[1].Value != nil {
			t.Errorf("the headers of record %d are %q", r.OffsetDelta, headers)
		}
	}
}

// What has a horizon keeps it, and is as it was when nothing goes.
func TestHorizonIsSetOnce(t *testing.T) {
	var c Compactor
	all := func(Outline) bool { return true }
	first, _, err := c.Retain(nil, compactible(t, Zstd, CreateTime), maxTestPayload, Horizon{MS: 5}, all)
	if err != nil {
		t.Fatal(err)
	}
	again, kept, err := c.Retain(nil, first, maxTestPayload, Horizon{MS: 7, Marker: true}, all)
	if err != nil || !kept.Whole || !bytes.Equal(again, first) {
		t.Errorf("%+v, %v: the batch has changed", kept, err)
	}
	less, _, err := c.Retain(nil, first, maxTestPayload, Horizon{MS: 7}, only(102, 104))
	if ms, has := Batch(less).DeleteHorizon(); err != nil || !has || ms != 5 || content(t, less) != compactibleContent(CreateTime, 102, 104) {
		t.Errorf("horizon %d, %v, %v: %s", ms, has, err, content(t, less))
	}

	marker := EndTxnMarker(1000, 2, 7, false, goldenTime)
	stays, kept, err := c.Retain(nil, marker, maxTestPayload, Horizon{MS: 9}, all)
	if err != nil || !kept.Whole || !bytes.Equal(stays, marker) {
		t.Errorf("a marker that is needed: %+v, %v", kept, err)
	}
	done, kept, err := c.Retain(nil, marker, maxTestPayload, Horizon{MS: 9, Marker: true}, all)
	ms, has := Batch(done).DeleteHorizon()
	m, ok, merr := ParseMarker(done)
	if err != nil || merr != nil || !ok || m.Type != ControlAbort || !has || ms != 9 || kept.Whole || Batch(done).MaxTimestamp() != goldenTime {
		t.Errorf("a marker that is not: %+v, %v, %v, horizon %d, %v", kept, err, merr, ms, has)
	}
	for r := range Batch(done).Records(maxTestPayload) {
		if ts := Batch(done).Timestamp(r); ts != goldenTime {
			t.Errorf("its timestamp is %d", ts)
		}
	}
}

func TestRetainNothing(t *testing.T) {
	var c Compactor
	for _, entry := range []Batch{compactible(t, LZ4, CreateTime), Batch(unhex(t, goldenSets[2].hex)), Batch(unhex(t, goldenSets[9].hex))} {
		out, kept, err := c.Retain([]byte("before"), entry, maxTestPayload, Horizon{}, func(Outline) bool { return false })
		if err != nil || kept.Records != 0 || string(out) != "before" {
			t.Errorf("format %d: %q, %+v, %v", entry.Magic(), out, kept, err)
		}
	}
}

func TestAppendEmpty(t *testing.T) {
	b := compactible(t, Gzip, LogAppendTime)
	withHorizon, _, err := new(Compactor).Retain(nil, b, maxTestPayload, Horizon{MS: 5}, only(102))
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []Batch{b, withHorizon} {
		e, rest, err := Next(AppendEmpty(nil, from))
		if err != nil || len(rest) > 0 || len(e) != HeaderSize || e.CheckCRC() != nil {
			t.Fatalf("%d bytes, %v, %v", len(e), err, e.CheckCRC())
		}
		if e.BaseOffset() != 100 || e.LastOffset() != 104 || e.LastSequence() != 9 || e.ProducerID() != 1000 || e.ProducerEpoch() != 2 || e.LeaderEpoch() != 3 ||
			e.Count() != 0 || e.BaseTimestamp() != NoTimestamp || e.MaxTimestamp() != goldenTime+9000 || e.Codec() != None || e.HasDeleteHorizon() ||
			!e.IsTransactional() || e.TimestampType() != LogAppendTime {
			t.Errorf("%x", []byte(e))
		}
		if got := content(t, e); got != "" {
			t.Errorf("it has the records %s", got)
		}
	}
	f := Batch(AppendFiller([]byte("before"), b)[len("before"):])
	if len(f) != HeaderSize || f.CheckCRC() != nil || f.BaseOffset() != 100 || f.LastOffset() != 104 || f.HasProducerID() || f.ProducerEpoch() != NoProducerEpoch ||
		f.BaseSequence() != NoSequence || f.IsTransactional() || f.Count() != 0 || f.LeaderEpoch() != 3 || f.MaxTimestamp() != goldenTime+9000 {
		t.Errorf("filler %x", []byte(f))
	}
	if e := Batch(AppendEmpty(nil, EndTxnMarker(1, 2, 3, true, 4))); !e.IsControl() {
		t.Error("an empty control batch is none")
	}
}

// splitContent splits the content of a golden set into its three records.
func splitContent(content string) []string {
	second, third := strings.Index(content, "8@"), strings.Index(content, "9@")
	return []string{content[:second], content[second:third], content[third:]}
}

// Messages of the old formats: each for itself, or some of those in a wrapper.
func TestRetainMessages(t *testing.T) {
	var c Compactor
	for _, g := range goldenSets {
		for _, keep := range [][]int64{{7}, {9}, {7, 9}, {7, 8, 9}} {
			var out []byte
			records := 0
			for set := unhex(t, g.hex); len(set) > 0; {
				m, rest, err := NextEntry(set)
				if err != nil {
					t.Fatal(err)
				}
				var kept Retained
				if out, kept, err = c.Retain(out, m, maxTestPayload, Horizon{MS: 5}, only(keep...)); err != nil {
					t.Fatal(err)
				}
				records += kept.Records
				set = rest
			}
			want := ""
			for i, record := range splitContent(g.content()) {
				if only(keep...)(Outline{Offset: 7 + int64(i)}) {
					want += record
				}
			}
			if got := setContent(t, out); got != want || records != len(keep) {
				t.Errorf("%v, %v: %d records %s\nwant %s", g, keep, records, got, want)
			}
			if len(keep) == 3 && !bytes.Equal(out, unhex(t, g.hex)) {
				t.Errorf("%v: what loses nothing has changed", g)
			}
		}
	}
}

func TestOutlines(t *testing.T) {
	var c Compactor
	entries := []Batch{compactible(t, None, CreateTime), compactible(t, Snappy, CreateTime)}
	for _, e := range entries {
		var got string
		err := c.Outlines(e, maxTestPayload, func(o Outline) bool {
			got += fmt.Sprintf("%d:%s:%v ", o.Offset, o.Key, o.HasValue)
			return o.Offset < 103
		})
		if want := "100:k0:true 101:k1:true 102:k2:false 103:k3:true "; err != nil || got != want {
			t.Errorf("%v: %s, %v", e.Codec(), got, err)
		}
	}
	var got string
	err := c.Outlines(Batch(unhex(t, goldenSets[6].hex)), maxTestPayload, func(o Outline) bool {
		got += fmt.Sprintf("%d:%v:%v ", o.Offset, o.Key != nil, o.HasValue)
		return true
	})
	if want := "7:true:true 8:false:true 9:true:false "; err != nil || got != want {
		t.Errorf("messages: %s, %v", got, err)
	}
}

func TestCompactBadBatches(t *testing.T) {
	var c Compactor
	b := compactible(t, None, CreateTime)
	less := bytes.Clone(b)
	binary.BigEndian.PutUint32(less[posCount:], 4)
	garbled := bytes.Clone(compactible(t, Zstd, CreateTime))
	garbled[HeaderSize] ^= 0xff
	large := NewBuilder().SetCodec(Gzip, DefaultLevel)
	large.Append(0, []byte("k"), make([]byte, 2<<20))
	for what, bad := range map[string]struct {
		batch Batch
		err   error
	}{
		"more records than it says": {less, kerr.InvalidRecord},
		"garbled compression":       {garbled, kerr.CorruptMessage},
		"too large":                 {mustBuild(t, large), ErrTooLarge},
	} {
		all := func(Outline) bool { return true }
		out, kept, err := c.Retain([]byte("before"), bad.batch, maxTestPayload, Horizon{}, all)
		if !errors.Is(err, bad.err) || string(out) != "before" || kept.Records != 0 {
			t.Errorf("%s: %q, %+v, %v", what, out, kept, err)
		}
		if err := c.Outlines(bad.batch, maxTestPayload, all); !errors.Is(err, bad.err) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Compaction takes turns with those who open batches, whether its own are compressed or
// not.
func TestCompactionLeavesAProcessorFree(t *testing.T) {
	for codec := range Zstd + 1 {
		b, visited := compactible(t, codec, CreateTime), 0
		visit := func(Outline) bool {
			if visited++; len(openers) != 1 {
				t.Errorf("%v: a record is looked at with %d turns taken", codec, len(openers))
			}
			return true
		}
		var c Compactor
		err := c.Outlines(b, maxTestPayload, visit)
		if err == nil {
			_, _, err = c.Retain(nil, b, maxTestPayload, Horizon{}, visit)
		}
		if err != nil || visited != 10 || len(openers) != 0 {
			t.Errorf("%v: %d records were looked at, want 10; %d turns are left taken, %v", codec, visited, len(openers), err)
		}
	}
}

func FuzzRetain(f *testing.F) {
	for codec := range Zstd + 1 {
		f.Add([]byte(compactible(f, codec, CreateTime)), uint64(0b10101))
	}
	for _, g := range goldenSets {
		f.Add(unhex(f, g.hex), uint64(0b101))
	}
	for _, set := range recordedSets(f) {
		f.Add(set, uint64(0b101))
	}
	f.Fuzz(func(t *testing.T, data []byte, keep uint64) {
		b, _, err := NextEntry(data)
		if err != nil {
			return
		}
		var c Compactor
		n := 0
		out, kept, err := c.Retain(nil, b, maxTestPayload, Horizon{MS: 5}, func(o Outline) bool {
			n++
			return keep>>(n%64)&1 == 1
		})
		if err != nil || kept.Records == 0 {
			return
		}
		r, rest, err := NextEntry(out)
		if err != nil || len(rest) > 0 {
			t.Fatalf("%x became %x: %v", []byte(b), out, err)
		}
		left := 0
		if err := c.Outlines(r, 2*maxTestPayload, func(Outline) bool { left++; return true }); err != nil || left != kept.Records {
			t.Fatalf("%d records instead of %d, %v", left, kept.Records, err)
		}
	})
}
