package record

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

const defaultGzipLevel = 6

// The pools of this and the other codecs' files hold coders between uses; their
// tables are large compared with most batches. A coder in a pool keeps no
// reference to what it worked on.
var (
	gzipReaders sync.Pool
	gzipWriters [gzip.BestCompression + 1]sync.Pool // by level
)

type gzipReader struct {
	src bytes.Reader
	gz  gzip.Reader
}

func compressGzip(dst, src []byte, level int) ([]byte, error) {
	if level == DefaultLevel || level == gzip.DefaultCompression {
		level = defaultGzipLevel
	}
	level = min(max(level, gzip.BestSpeed), gzip.BestCompression)
	out := bytes.NewBuffer(dst)
	w, _ := gzipWriters[level].Get().(*gzip.Writer)
	if w == nil {
		var err error
		if w, err = gzip.NewWriterLevel(out, level); err != nil {
			return dst, err
		}
	} else {
		w.Reset(out)
	}
	if _, err := w.Write(src); err != nil {
		return dst, err
	}
	if err := w.Close(); err != nil {
		return dst, err
	}
	w.Reset(nil)
	gzipWriters[level].Put(w)
	return out.Bytes(), nil
}

func decompressGzip(dst, src []byte, limit int) ([]byte, error) {
	r, _ := gzipReaders.Get().(*gzipReader)
	if r == nil {
		r = new(gzipReader)
	}
	defer func() {
		r.src.Reset(nil)
		gzipReaders.Put(r)
	}()
	restart := func() (io.Reader, error) {
		r.src.Reset(src)
		return &r.gz, r.gz.Reset(&r.src)
	}
	return readBounded(dst, restart, len(src), limit)
}
