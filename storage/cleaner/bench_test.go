package cleaner

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// BenchmarkCompaction compacts a log of 600,000 records, of which each key is there ten
// times, in batches of 50. Values are of 80 bytes and compress to half of that. MB/s are of
// the records as they were written, whatever they were compressed to; B/op has the map of
// the keys in it.
func BenchmarkCompaction(b *testing.B) {
	for codec := record.None; codec <= record.Zstd; codec++ {
		b.Run(codec.String(), func(b *testing.B) { benchmark(b, codec) })
	}
}

func benchmark(b *testing.B, codec record.Codec) {
	const records, perBatch, copies = 600_000, 50, 10
	limits := settings(func(c *config.Cleaner) { c.DedupeBytes = 128 << 20 })()
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		log, err := commitlog.Open(commitlog.Options{
			FS: vfs.OS(), Dir: filepath.Join(b.TempDir(), "t-0"), Partition: protocol.TopicPartition{Topic: "t"},
			Files: commitlog.NewFileCache(100), ProducerIDExpiration: time.Hour, CleanedOffset: -1,
			Config: compacted(func(c *config.Topic) {
				c.SegmentBytes, c.SegmentIndexBytes, c.DeleteRetentionMS = 4<<20, 10<<20, math.MaxInt64
			}),
		})
		if err != nil {
			b.Fatal(err)
		}
		rng, value, written := rand.New(rand.NewPCG(1, 1)), make([]byte, 40), int64(0)
		for i := 0; i < records; i += perBatch {
			r := record.NewBuilder().SetCodec(codec, record.DefaultLevel)
			for j := range perBatch {
				for k := 0; k < len(value); k += 8 {
					binary.LittleEndian.PutUint64(value[k:], rng.Uint64())
				}
				key := fmt.Appendf(nil, "key-%d", (i+j)*7919%(records/copies))
				r.Append(int64(1_700_000_000_000+i), key, fmt.Appendf(nil, "%x", value))
				written += int64(len(key) + 2*len(value))
			}
			batch, err := r.Build()
			if err != nil {
				b.Fatal(err)
			}
			put(b, log, batch)
		}
		c, err := examine(log, time.Now(), slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(written)
		b.StartTimer()
		stats, err := newPass(c, limits, &throttle{}, time.Now()).run(context.Background(), nil)
		b.StopTimer()
		if err != nil || stats.RecordsLeft == 0 || stats.RecordsLeft > records/5 {
			b.Fatalf("%+v, %v", stats, err)
		}
		log.Abandon()
		b.StartTimer()
	}
}
