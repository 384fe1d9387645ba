package record

import (
	"bytes"
	stdgzip "compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kerr"
)

func TestCodecsRoundTrip(t *testing.T) {
	inputs := map[string][]byte{
		"empty":  {},
		"short":  []byte("x"),
		"text":   []byte(strings.Repeat("gracchus ", 1000)),
		"large":  bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7}, 20_000),
		"random": pseudoRandom(70_000),
	}
	for _, codec := range allCodecs {
		for name, in := range inputs {
			for _, level := range []int{DefaultLevel, math.MinInt32 + 1, 9, 1000} {
				t.Run(fmt.Sprintf("%v/%s/%d", codec, name, level), func(t *testing.T) {
					c, err := Compress([]byte("before"), in, codec, level)
					if err != nil || !bytes.HasPrefix(c, []byte("before")) {
						t.Fatalf("%v; begins with %q", err, c[:6])
					}
					got, err := Decompress(c[6:], codec, len(in))
					if err != nil || !bytes.Equal(got, in) {
						t.Fatalf("%d bytes, %v; want %d", len(got), err, len(in))
					}
					if len(in) > 0 {
						if _, err := Decompress(c[6:], codec, len(in)-1); !errors.Is(err, ErrTooLarge) {
							t.Errorf("one byte less allowed: %v", err)
						}
					}
				})
			}
		}
	}
}

func pseudoRandom(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func TestDecompressGarbage(t *testing.T) {
	for _, codec := range []Codec{Gzip, Snappy, LZ4, Zstd, 5, 7} {
		t.Run(codec.String(), func(t *testing.T) {
			good, _ := Compress(nil, []byte(strings.Repeat("abc", 100)), codec, DefaultLevel)
			for name, in := range map[string][]byte{
				"noise":   pseudoRandom(100),
				"cut off": good[:len(good)*2/3],
			} {
				if len(in) == 0 {
					continue
				}
				if got, err := Decompress(in, codec, 1<<20); !errors.Is(err, kerr.CorruptMessage) {
					t.Errorf("%s: %d bytes, %v", name, len(got), err)
				}
			}
		})
	}
}

// TestDecompressionBombs gives each codec a few bytes that claim or yield a lot;
// what is allocated must stay near the bound.
func TestDecompressionBombs(t *testing.T) {
	const limit = 1 << 16
	bomb := func(codec Codec) []byte {
		b, err := Compress(nil, make([]byte, 1<<23), codec, DefaultLevel)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	snappyClaim := []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0} // a block of 4 GiB − 1
	// A zstd frame that claims 2⁶² bytes of content and a window of 2 GiB.
	zstdClaim, _ := hex.DecodeString("28b52ffd" + "c0" + "b0" + "0000000000000040" + "010000")
	for name, c := range map[string]struct {
		codec Codec
		src   []byte
	}{
		"gzip": {Gzip, bomb(Gzip)}, "snappy": {Snappy, bomb(Snappy)}, "lz4": {LZ4, bomb(LZ4)}, "zstd": {Zstd, bomb(Zstd)},
		"snappy's claim": {Snappy, snappyClaim}, "zstd's claim": {Zstd, zstdClaim},
	} {
		t.Run(name, func(t *testing.T) {
			Decompress(c.src, c.codec, limit) // fill the pools
			const runs = 10
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range runs {
				if _, err := Decompress(c.src, c.codec, limit); err == nil {
					t.Fatal("no error")
				}
			}
			runtime.ReadMemStats(&after)
			if got := (after.TotalAlloc - before.TotalAlloc) / runs; got > 8*limit {
				t.Errorf("%d bytes of input cost %d bytes of memory, the bound is %d", len(c.src), got, limit)
			}
		})
	}
}

// TestGzipIsReadByOthers reads our gzip with the standard library's, and Kafka's
// consumers do no less.
func TestGzipIsReadByOthers(t *testing.T) {
	c, err := Compress(nil, []byte("hello"), Gzip, DefaultLevel)
	if err != nil {
		t.Fatal(err)
	}
	r, err := stdgzip.NewReader(bytes.NewReader(c))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); string(got) != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestLZ4FrameHeader holds the frame's descriptor to what Java's producer
// writes: version 1, independent blocks, no checksums, blocks of 64 KiB, and the
// header checksum of that.
func TestLZ4FrameHeader(t *testing.T) {
	c, err := Compress(nil, []byte("hello hello hello hello hello"), LZ4, DefaultLevel)
	if err != nil {
		t.Fatal(err)
	}
	if want := unhex(t, "04224d18604082"); !bytes.HasPrefix(c, want) {
		t.Errorf("frame begins with %x, want %x", c[:7], want)
	}
}

// Java and others compress as a stream: the frame does not say how large it will be.
func TestZstdOfUnknownSize(t *testing.T) {
	for _, in := range [][]byte{make([]byte, 5<<20), bytes.Repeat([]byte("gracchus "), 100_000), bytes.Repeat(pseudoRandom(1000), 300)} {
		var stream bytes.Buffer
		w, err := zstd.NewWriter(&stream)
		if err != nil {
			t.Fatal(err)
		}
		for piece := range slices.Chunk(in, 1000) {
			w.Write(piece)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := Decompress(stream.Bytes(), Zstd, len(in)); err != nil || !bytes.Equal(got, in) {
			t.Errorf("%d bytes of %d: %d, %v", stream.Len(), len(in), len(got), err)
		}
		if _, err := Decompress(stream.Bytes(), Zstd, len(in)-1); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d bytes of %d, one less allowed: %v", stream.Len(), len(in), err)
		}
	}
}

func TestSnappyFraming(t *testing.T) {
	c, _ := Compress(nil, []byte("hello"), Snappy, DefaultLevel)
	if want := unhex(t, "82534e4150505900"+"00000001"+"00000001"); !bytes.HasPrefix(c, want) {
		t.Errorf("begins with %x, want %x", c[:16], want)
	}
	bare := unhex(t, "05"+"10"+hex.EncodeToString([]byte("hello")))
	if got, err := Decompress(bare, Snappy, 100); string(got) != "hello" || err != nil {
		t.Errorf("a bare block gave %q, %v", got, err)
	}
}

func TestCodecNames(t *testing.T) {
	for _, c := range allCodecs {
		if got, ok := ParseCodec(c.String()); got != c || !ok {
			t.Errorf("%v reads as %v, %v", c, got, ok)
		}
	}
	if got, ok := ParseCodec("uncompressed"); got != None || !ok {
		t.Errorf("uncompressed reads as %v, %v", got, ok)
	}
	if _, ok := ParseCodec("brotli"); ok {
		t.Error("brotli was accepted")
	}
}

func fuzzCodec(f *testing.F, codec Codec) {
	for _, in := range []string{"", "x", strings.Repeat("gracchus ", 50)} {
		c, err := Compress(nil, []byte(in), codec, DefaultLevel)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(c)
	}
	for _, c := range recordedPayloads(f, codec) {
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		const limit = 1 << 16
		out, err := Decompress(src, codec, limit)
		if err != nil {
			if !errors.Is(err, kerr.CorruptMessage) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if len(out) > limit {
			t.Fatalf("%d bytes", len(out))
		}
		again, err := Compress(nil, out, codec, DefaultLevel)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Decompress(again, codec, limit); err != nil || !bytes.Equal(back, out) {
			t.Fatalf("compressed again: %v", err)
		}
	})
}

func FuzzGzip(f *testing.F)   { fuzzCodec(f, Gzip) }
func FuzzSnappy(f *testing.F) { fuzzCodec(f, Snappy) }
func FuzzLZ4(f *testing.F)    { fuzzCodec(f, LZ4) }
func FuzzZstd(f *testing.F)   { fuzzCodec(f, Zstd) }
