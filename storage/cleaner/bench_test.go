package cleaner

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// BenchmarkCompaction compacts a log of 64 MiB, of which each key is there ten times: MB/s
// are of the log as it was. Records are of 100 bytes, 50 to a batch.
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
				c.SegmentBytes, c.SegmentIndexBytes, c.DeleteRetentionMS = 16<<20, 10<<20, math.MaxInt64
			}),
		})
		if err != nil {
			b.Fatal(err)
		}
		for i := 0; i < records; i += perBatch {
			r := record.NewBuilder().SetCodec(codec, record.DefaultLevel)
			for j := range perBatch {
				r.Append(int64(1_700_000_000_000+i), fmt.Appendf(nil, "key-%d", (i+j)*7919%(records/copies)), fmt.Appendf(nil, "%d %080d", i*j, i))
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
		b.SetBytes(c.dirty)
		b.StartTimer()
		stats, err := newPass(c, limits, &throttle{}, time.Now()).run(context.Background(), nil)
		b.StopTimer()
		if err != nil || stats.RecordsLeft > records/5 {
			b.Fatalf("%+v, %v", stats, err)
		}
		log.Abandon()
		b.StartTimer()
	}
}
