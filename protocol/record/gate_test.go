package record

import (
	"errors"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// bomb is a batch of one record that is n zeros, compressed.
func bomb(t *testing.T, codec Codec, n int) Batch {
	t.Helper()
	b := NewBuilder().SetCodec(codec, DefaultLevel)
	b.Append(1, []byte("k"), make([]byte, n))
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

func fullRules() LeaderRules {
	return LeaderRules{Origin: Client, ProduceVersion: 9, MaxMessageBytes: 1 << 20, SegmentBytes: 1 << 30, TimestampType: CreateTime,
		BeforeMaxMS: math.MaxInt64, AfterMaxMS: math.MaxInt64, TargetCodec: CompressionProducer, Full: true}
}

// A batch may decompress to what good ones do; beyond it is too large, and the
// smaller part of the bound is left where a second batch is made of it.
func TestDecompressedSizeIsBounded(t *testing.T) {
	for _, codec := range []Codec{Gzip, LZ4, Zstd} { // snappy cannot be that dense
		const bound = 3 << 20
		for _, c := range []struct {
			size   int
			target Codec
			want   error
		}{
			{bound - 100, CompressionProducer, nil},
			{bound + 100, CompressionProducer, kerr.MessageTooLarge},
			{bound/2 - 100, Zstd, nil},
			{bound/2 + 100, Snappy, kerr.MessageTooLarge},
		} {
			rules := fullRules()
			rules.MaxDecompressed = bound
			rules.TargetCodec = c.target
			if c.target == codec {
				continue
			}
			_, _, err := ValidateForLeader(bomb(t, codec, c.size), rules)
			if !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("%v of %d bytes to %v: %v, want %v", codec, c.size, c.target, err, c.want)
			}
			if c.want != nil && !strings.Contains(err.Error(), "decompressed") {
				t.Errorf("%v of %d bytes to %v: %v", codec, c.size, c.target, err)
			}
		}
	}
}

func TestBoundOfDecompressed(t *testing.T) {
	if a, b := MaxDecompressed(1<<20), MaxDecompressed(100<<20); a != largePayload || b != 200<<20 {
		t.Errorf("%d and %d", a, b)
	}
}

// However many clients send bombs at once, a few batches are open at a time: the
// fewer the larger they are, and never so many that no processor is left to others.
func TestFewBatchesAreOpenAtOnce(t *testing.T) {
	processors := max(runtime.GOMAXPROCS(0)-1, 1)
	for name, c := range map[string]struct{ size, most int }{
		"large":    {mediumPayload + 1, min(processors, allPayloads/largePayload)},
		"middling": {smallPayload + 1, min(processors, allPayloads/mediumPayload)},
		"small":    {1000, processors},
	} {
		t.Run(name, func(t *testing.T) {
			src := bomb(t, LZ4, c.size).Payload()
			var open, most atomic.Int32
			var wg sync.WaitGroup
			together := make(chan struct{}) // closed when as many are open as may be
			var once sync.Once
			for range 4 * c.most {
				wg.Go(func() {
					err := openPayload(new([]byte), src, LZ4, largePayload, func([]byte) error {
						now := open.Add(1)
						defer open.Add(-1)
						for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
						}
						if int(now) == c.most {
							once.Do(func() { close(together) })
						}
						select {
						case <-together:
						case <-time.After(20 * time.Second):
							t.Errorf("only %d are open at once, want %d", open.Load(), c.most)
						}
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if n := int(most.Load()); n > c.most {
				t.Errorf("%d were open at once, want %d", n, c.most)
			}
		})
	}
}
