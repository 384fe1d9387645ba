package record

import (
	"bytes"
	"io"
	"sync"

	"github.com/pierrec/lz4/v4"
)

// defaultLZ4Level is Kafka's; at this level, and only there, Java uses the fast
// compressor instead of the high-compression one.
const defaultLZ4Level = 9

var (
	lz4Readers sync.Pool
	lz4Writers sync.Pool
)

type lz4Reader struct {
	src bytes.Reader
	lz4 *lz4.Reader
}

var lz4Levels = [...]lz4.CompressionLevel{
	lz4.Level1, lz4.Level2, lz4.Level3, lz4.Level4, lz4.Level5,
	lz4.Level6, lz4.Level7, lz4.Level8, lz4.Level9,
}

func lz4Level(level int) lz4.CompressionLevel {
	if level == DefaultLevel || level == defaultLZ4Level {
		return lz4.Fast
	}
	return lz4Levels[min(max(level, 1), len(lz4Levels))-1]
}

// compressLZ4 writes frames as Kafka's producers do: independent blocks of
// 64 KiB, neither block nor content checksum, no content size. Java's consumer
// can read no others than independent blocks.
func compressLZ4(dst, src []byte, level int) ([]byte, error) {
	w, _ := lz4Writers.Get().(*lz4.Writer)
	if w == nil {
		w = lz4.NewWriter(nil)
	}
	defer func() {
		w.Reset(nil)
		lz4Writers.Put(w)
	}()
	out := bytes.NewBuffer(dst)
	w.Reset(out)
	err := w.Apply(
		lz4.BlockSizeOption(lz4.Block64Kb),
		lz4.ChecksumOption(false),
		lz4.CompressionLevelOption(lz4Level(level)),
	)
	if err != nil {
		return dst, err
	}
	if _, err := w.Write(src); err != nil {
		return dst, err
	}
	if err := w.Close(); err != nil {
		return dst, err
	}
	return out.Bytes(), nil
}

func decompressLZ4(dst, src []byte, limit int) ([]byte, error) {
	r := getLZ4Reader()
	defer putLZ4Reader(r)
	restart := func() (io.Reader, error) {
		r.src.Reset(src)
		r.lz4.Reset(&r.src)
		return r.lz4, nil
	}
	return readBounded(dst, restart, len(src), limit)
}

func getLZ4Reader() *lz4Reader {
	r, _ := lz4Readers.Get().(*lz4Reader)
	if r == nil {
		r = &lz4Reader{lz4: lz4.NewReader(nil)}
	}
	return r
}

func putLZ4Reader(r *lz4Reader) {
	r.src.Reset(nil)
	lz4Readers.Put(r)
}
