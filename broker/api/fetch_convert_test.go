package api

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/internal/race"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/replica"
)

// messages lists the offsets of the records in a message set of format magic; a
// message that is cut off ends it with "…".
func messages(t testing.TB, set []byte, magic int8) string {
	t.Helper()
	var out []string
	for len(set) > 0 {
		b, rest, err := record.NextEntry(set)
		if errors.Is(err, record.ErrTruncated) {
			out = append(out, "…")
			break
		}
		if err != nil || b.Magic() != magic || record.Message(b).CheckCRC() != nil {
			t.Fatalf("%x: format %d, %v", []byte(b), b.Magic(), err)
		}
		for r, err := range record.Message(b).Records(1 << 20) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprint(r.Offset))
		}
		set = rest
	}
	return strings.Join(out, " ")
}

// coded is a batch of n records with this codec.
func coded(t testing.TB, codec record.Codec, n int) []byte {
	b := record.NewBuilder().SetCodec(codec, record.DefaultLevel)
	for i := range n {
		b.Append(1700000000000+int64(i), nil, bytes.Repeat([]byte("v"), 100))
	}
	out, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fetchOld asks as a client from before record batches does.
func (w *world) fetchOld(version int16, topic string, offset int64, limit int32) kmsg.FetchResponseTopicPartition {
	w.t.Helper()
	req := fetchOne(topic, 0, offset)
	req.MaxWaitMillis = 30_000 // to no avail: there is always something to answer
	req.Topics[0].Partitions[0].PartitionMaxBytes = limit
	return call[*kmsg.FetchResponse](w, version, req).Topics[0].Partitions[0]
}

func TestFetchConverts(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 0)
	w.produce("t", 0, batch(3, 10))
	w.produce("t", 0, coded(t, record.Gzip, 2))
	w.produce("t", 0, batch(1, 10))
	for version := int16(0); version < 4; version++ {
		magic, _ := messageFormat(version)
		for offset, want := range map[int64]string{0: "0 1 2", 1: "1 2", 2: "2", 3: "3 4", 4: "3 4", 5: "5"} {
			p := w.fetchOld(version, "t", offset, 1<<20)
			if p.ErrorCode != 0 || p.HighWatermark != 6 || !strings.HasPrefix(messages(t, p.RecordBatches, magic), want) {
				t.Errorf("v%d at %d: error %d, high watermark %d, messages %s", version, offset, p.ErrorCode, p.HighWatermark, messages(t, p.RecordBatches, magic))
			}
		}
	}
}

// A range with records that an old client cannot be given is not empty for it: it
// would wait for ever.
func TestFetchConvertsAroundMarkers(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 0)
	part, err := w.replicas.Partition(protocol.TopicPartition{Topic: "t"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Append(record.EndTxnMarker(1, 0, 0, true, 1700000000000), replica.AppendRequest{Origin: record.Coordinator, Acks: 1}); err != nil {
		t.Fatal(err)
	}
	if p := w.fetchOld(2, "t", 0, 1<<20); p.ErrorCode != 0 || len(p.RecordBatches) != fillingHeader || messages(t, p.RecordBatches, 1) != "…" {
		t.Errorf("a marker alone: %+v", p)
	}
	w.produce("t", 0, batch(2, 10))
	if p := w.fetchOld(2, "t", 0, 1<<20); messages(t, p.RecordBatches, 1) != "1 2 …" {
		t.Errorf("behind a marker: %s", messages(t, p.RecordBatches, 1))
	}
}

// How many bytes a client gets: as many as are stored, or the first batch.
func TestFetchConvertsWithinLimits(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 0)
	stored := len(batch(2, 10))
	converted := len(messageSet(2, 10, 1))
	for range 3 {
		w.produce("t", 0, batch(2, 10))
	}
	for _, tt := range []struct {
		limit, size int
		want        string
	}{
		{3 * stored, 3 * stored, "0 1 2 3 4 5"},
		{3*stored - 1, 3*stored - 1, "0 1 2 3 …"}, // of the third batch only a part is read
		{stored, max(stored, converted), "0 1"},
		{stored + 5, max(stored+5, converted), "0 1"},
	} {
		p := w.fetchOld(2, "t", 0, int32(tt.limit))
		got := messages(t, p.RecordBatches, 1)
		if len(p.RecordBatches) != tt.size || !strings.HasPrefix(got, tt.want) {
			t.Errorf("limit %d: %d bytes, messages %s; want %d, %s", tt.limit, len(p.RecordBatches), got, tt.size, tt.want)
		}
	}
	// Only from version 3 on the first batch is sent whatever its size.
	for version, want := range map[int16]string{0: "", 1: "", 2: "", 3: "0 1 …"} {
		magic, _ := messageFormat(version)
		if got := messages(t, w.fetchOld(version, "t", 0, int32(stored)-1).RecordBatches, magic); got != want {
			t.Errorf("v%d, less than a batch: messages %q, want %q", version, got, want)
		}
	}
}

func TestFetchRefusesToConvert(t *testing.T) {
	w := newWorld(t)
	w.topics.own["as-is"] = map[string]string{"message.downconversion.enable": "false"}
	w.topics.own["zstd"] = map[string]string{"compression.type": "zstd"}
	for _, topic := range []string{"t", "as-is", "zstd"} {
		w.lead(topic, 1, 0)
	}
	w.produce("t", 0, batch(2, 10))
	w.produce("t", 0, coded(t, record.Zstd, 2))
	w.produce("as-is", 0, batch(2, 10))
	w.produce("zstd", 0, batch(2, 10))
	for _, tt := range []struct {
		topic    string
		offset   int64
		from, to int16
		want     *kerr.Error
	}{
		{"t", 2, 0, 3, kerr.UnsupportedCompressionType},
		{"zstd", 0, 0, 9, kerr.UnsupportedCompressionType},
		{"zstd", 99, 0, 9, kerr.UnsupportedCompressionType},
		{"as-is", 0, 0, 3, kerr.UnsupportedVersion},
		{"as-is", 99, 0, 3, kerr.UnsupportedVersion},
	} {
		for version := tt.from; version <= tt.to; version++ {
			p := w.fetchOld(version, tt.topic, tt.offset, 1<<20)
			if p.ErrorCode != tt.want.Code || p.HighWatermark != -1 || p.RecordBatches != nil || version >= 4 && p.AbortedTransactions == nil {
				t.Errorf("%s at %d, v%d: %+v, want %s", tt.topic, tt.offset, version, p, tt.want.Message)
			}
		}
		if tt.offset > 9 {
			continue
		}
		if p := w.fetchOld(tt.to+1, tt.topic, tt.offset, 1<<20); p.ErrorCode != 0 || len(p.RecordBatches) == 0 {
			t.Errorf("%s, v%d: %+v", tt.topic, tt.to+1, p)
		}
	}
	// What comes before the batch that cannot be converted is served.
	if p := w.fetchOld(3, "t", 0, 1<<20); p.ErrorCode != 0 || messages(t, p.RecordBatches, 1) != "0 1 …" {
		t.Errorf("before zstd: %d, %s", p.ErrorCode, messages(t, p.RecordBatches, 1))
	}
}

// A stored batch that cannot be read back ends a response; where it comes first
// it is the client's error.
func TestFetchConvertsUpToADamagedBatch(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 1, 0)
	broken := record.Batch(coded(t, record.Gzip, 2))
	clear(broken[record.HeaderSize:])
	broken.SetMaxTimestamp(1, record.CreateTime) // its checksum is right
	w.produce("t", 0, batch(1, 10))
	w.produce("t", 0, broken)
	if p := w.fetchOld(3, "t", 0, 1<<20); p.ErrorCode != 0 || !strings.HasPrefix(messages(t, p.RecordBatches, 1), "0 …") {
		t.Errorf("before it: %d, %s", p.ErrorCode, messages(t, p.RecordBatches, 1))
	}
	if p := w.fetchOld(3, "t", 1, 1<<20); p.ErrorCode != kerr.CorruptMessage.Code {
		t.Errorf("at it: %+v", p)
	}
}

// A large response is converted while it is sent, with no more memory than a
// batch or two need.
func TestConversionTakesLittleMemory(t *testing.T) {
	race.Skip(t, "it measures memory, in one goroutine")
	var stored []byte
	var want []byte
	for i := range 200 {
		b := record.Batch(batch(1000, 50))
		b.SetBaseOffset(int64(i) * 1000)
		stored = append(stored, b...)
		var err error
		if want, err = record.DownConvert(want, b, 1, 0, math.MaxInt, 0); err != nil {
			t.Fatal(err)
		}
	}
	r, err := newConversionSlots().convert(server.Range{File: bytes.NewReader(stored), Len: len(stored)}, 1, 0)
	if err != nil || r.Len != len(stored) {
		t.Fatalf("%d bytes, %v; want %d", r.Len, err, len(stored))
	}
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	most := uint64(0)
	piece := make([]byte, 64<<10)
	for at := 0; at < r.Len; at += len(piece) {
		piece = piece[:min(len(piece), r.Len-at)]
		if n, err := r.File.ReadAt(piece, int64(at)); n != len(piece) {
			t.Fatalf("%d bytes at %d: %v", n, at, err)
		}
		if !bytes.Equal(piece, want[at:at+len(piece)]) {
			t.Fatalf("other bytes at %d", at)
		}
		runtime.GC()
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapAlloc-min(now.HeapAlloc, before.HeapAlloc))
	}
	if most > 1<<20 {
		t.Errorf("%d bytes of memory for the sending of %d", most, r.Len)
	}
	if _, err := r.File.ReadAt(piece, 0); err == nil {
		t.Error("read again from the beginning")
	}
}

// The filling is as Kafka writes it: every 128 KiB the beginning of a message that
// goes on behind the end.
func TestFilling(t *testing.T) {
	for _, n := range []int64{1, 11, 12, 13, 100, 1000, 128<<10 - 1, 128 << 10, 128<<10 + 1, 300 << 10} {
		end := make([]byte, entryHeader) // too small for a batch
		c := &conversion{slots: newConversionSlots(), stored: server.Range{File: bytes.NewReader(end), Len: len(end)}, end: int64(len(end)), size: n}
		got, err := io.ReadAll(io.NewSectionReader(c, 0, n))
		if err != nil || int64(len(got)) != n {
			t.Fatalf("%d of %d bytes: %v", len(got), n, err)
		}
		for at := int64(0); at+fillingHeader <= n; at += maxFilling {
			left := n - at
			if offset, size := binary.BigEndian.Uint64(got[at:]), int64(binary.BigEndian.Uint32(got[at+8:])); offset != math.MaxUint64 || size != max(left+1, record.HeaderSize) {
				t.Errorf("%d of %d bytes: offset %x, size %d", at, n, offset, size)
			}
		}
	}
}

func TestStorageErrorsOfOldFetches(t *testing.T) {
	h := &fetchRecords{}
	for version := int16(0); version <= 17; version++ {
		want := kerr.KafkaStorageError.Code
		if version < 6 {
			want = kerr.NotLeaderForPartition.Code
		}
		if got := h.code(version, fmt.Errorf("disk: %w", kerr.KafkaStorageError)); got != want {
			t.Errorf("v%d: %d, want %d", version, got, want)
		}
	}
}
