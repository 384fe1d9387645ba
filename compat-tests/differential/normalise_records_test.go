package differential

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Records are shown by their headers, compressed ones with a checksum of what they
// decompress to, as compressors differ, and so those with the time of today;
// messages of the old formats one by one.

func records(b []byte) []any {
	out := []any{}
	compressed := false // then sizes are by nature not the same
	for len(b) > 0 {
		whole := 12 + int64(0)
		if len(b) >= 17 {
			whole += int64(int32(binary.BigEndian.Uint32(b[8:])))
		}
		if len(b) < 17 || whole < 26 || whole > int64(len(b)) {
			if compressed {
				return append(out, "something more")
			}
			return append(out, rest(b, whole))
		}
		var shown any
		codec := b[17] & 7
		if b[16] == 2 {
			codec = b[22] & 7
			shown = batchHeader(b[:whole], kgo.CompressionCodecType(codec))
		} else {
			shown = messageFields(b[:whole])
		}
		compressed = compressed || codec != 0
		out = append(out, shown)
		b = b[whole:]
	}
	if compressed && len(out) > 0 {
		out = append(out, "something more") // or nothing
	}
	return out
}

// rest is what is left of records at the end: a part of an entry, or what fills a
// converted set to the size that was announced for it.
func rest(b []byte, whole int64) string {
	if len(b) >= 12 && binary.BigEndian.Uint64(b) == 1<<64-1 {
		return fmt.Sprintf("%d bytes of filling of %d, checksum %08x", len(b), whole, crc32.ChecksumIEEE(b))
	}
	if len(b) < 17 {
		return fmt.Sprintf("%d bytes more: %x", len(b), b)
	}
	return fmt.Sprintf("%d bytes of %d, checksum %08x", len(b), whole, crc32.ChecksumIEEE(b))
}

func batchHeader(raw []byte, codec kgo.CompressionCodecType) any {
	var batch kmsg.RecordBatch
	if len(raw) < 61 || batch.ReadFrom(raw) != nil {
		return "undecodable"
	}
	first, greatest := now(batch.FirstTimestamp), now(batch.MaxTimestamp)
	_, sameTimes := greatest.(int64)
	if codec == 0 && sameTimes {
		// The checksum stands for all that it covers.
		return fmt.Sprintf("batch at %d, epoch %d, %d bytes, checksum %08x", batch.FirstOffset, batch.PartitionLeaderEpoch, len(raw), checksum(raw, &batch))
	}
	what := "undecodable"
	if codec == 0 {
		what = fmt.Sprintf("checksum %08x", crc32.ChecksumIEEE(raw[61:]))
	} else if plain, err := kgo.DefaultDecompressor().Decompress(raw[61:], codec); err == nil {
		what = fmt.Sprintf("checksum %08x", crc32.ChecksumIEEE(plain))
	}
	return fmt.Sprintf("batch at %d, epoch %d, attributes %#x, last %d, timestamps %v %v, count %d, records of %s",
		batch.FirstOffset, batch.PartitionLeaderEpoch, batch.Attributes, batch.LastOffsetDelta, first, greatest, batch.NumRecords, what)
}

// checksum is a batch's own. In a transaction it is that of the same batch of producer 0,
// for the cluster has given the producer its id.
func checksum(raw []byte, batch *kmsg.RecordBatch) uint32 {
	const covered, producerID = 21, 43
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	if batch.Attributes&0x10 == 0 || crc32.Checksum(raw[covered:], castagnoli) != uint32(batch.CRC) {
		return uint32(batch.CRC)
	}
	raw = slices.Clone(raw)
	binary.BigEndian.PutUint64(raw[producerID:], 0)
	return crc32.Checksum(raw[covered:], castagnoli)
}

// messageFields shows a message of format 0 or 1, and those inside of it.
func messageFields(raw []byte) any {
	m := map[string]any{
		"offset": int64(binary.BigEndian.Uint64(raw)),
		"header": fmt.Sprintf("format %d, attributes %#x", raw[16], raw[17]),
	}
	if binary.BigEndian.Uint32(raw[12:]) != crc32.ChecksumIEEE(raw[16:]) {
		m["checksum"] = "wrong"
	}
	at := 18
	if raw[16] > 0 {
		if len(raw) < 34 {
			return "undecodable"
		}
		m["timestamp"] = now(int64(binary.BigEndian.Uint64(raw[18:])))
		at = 26
	}
	for _, name := range []string{"key", "value"} {
		n := int(int32(binary.BigEndian.Uint32(raw[at:])))
		at += 4
		if n < 0 {
			continue
		}
		if at+n > len(raw) {
			return "undecodable"
		}
		v := raw[at : at+n]
		at += n
		codec := raw[17] & 7
		switch {
		case name == "value" && codec != 0:
			m["inside"] = inside(codec, raw[16], v, m)
		case n > 40:
			m[name] = fmt.Sprintf("%d bytes, checksum %08x", n, crc32.ChecksumIEEE(v))
		default:
			m[name] = string(v)
		}
		if at+4 > len(raw) {
			break
		}
	}
	return m
}

func inside(codec, magic byte, v []byte, m map[string]any) any {
	if codec == lz4ed && len(v) > 7 {
		m["frame"] = fmt.Sprintf("%x", v[:7])
		if magic == 0 {
			v = append([]byte{}, v...)
			v[6] = 0x82 // the right checksum of this header
		}
	}
	plain, err := kgo.DefaultDecompressor().Decompress(v, kgo.CompressionCodecType(codec))
	if err != nil {
		return "undecodable"
	}
	return records(plain)
}

// compressBatch compresses a batch's records.
func compressBatch(codec int16, raw []byte) []byte {
	if codec != zstded {
		return compress(byte(codec), 2, raw)
	}
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(raw, nil)
}
