package record

import (
	"bytes"
	"fmt"
	"testing"
)

// benchBatch has n records of size bytes each, half of them compressible.
func benchBatch(b *testing.B, codec Codec, n, size int) Batch {
	noise := pseudoRandom(size)
	builder := NewBuilder().SetCodec(codec, DefaultLevel)
	for i := range n {
		clear(noise[:size/2])
		builder.Append(goldenTime+int64(i), fmt.Appendf(nil, "key-%d", i), noise)
	}
	return mustBuild(b, builder)
}

// BenchmarkValidate is a leader's work on a batch before the log takes it. It
// must not allocate for what it leaves as it is.
func BenchmarkValidate(b *testing.B) {
	for _, c := range []struct {
		name  string
		codec Codec
		rules LeaderRules
	}{
		{"none", None, rules()},
		{"lz4", LZ4, rules()},
		{"lz4,full", LZ4, rules(full)},
		{"zstd,full", Zstd, rules(full)},
		{"snappy,full", Snappy, rules(full)},
		{"gzip,full", Gzip, rules(full)},
		{"none-to-zstd", None, rules(target(Zstd))},
	} {
		for _, n := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("%s/records=%d", c.name, n), func(b *testing.B) {
				batch := benchBatch(b, c.codec, n, 100)
				b.SetBytes(int64(len(batch)))
				b.ReportAllocs()
				for b.Loop() {
					if _, _, err := ValidateForLeader(batch, c.rules); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestValidateAllocatesNothing guards the hot path: a batch that stays as it is
// must cost no garbage, however many records it has.
func TestValidateAllocatesNothing(t *testing.T) {
	for _, codec := range []Codec{None, LZ4, Zstd} {
		batch := batchOf(t, withCodec(codec), make([]int64, 500)...)
		sent, rules := bytes.Clone(batch), rules()
		allocs := testing.AllocsPerRun(100, func() {
			if _, _, err := ValidateForLeader(sent, rules); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("%v: %v allocations", codec, allocs)
		}
	}
}

func BenchmarkRecords(b *testing.B) {
	for _, codec := range allCodecs {
		b.Run(codec.String(), func(b *testing.B) {
			batch := benchBatch(b, codec, 1000, 100)
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range batch.Records(1 << 20) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
