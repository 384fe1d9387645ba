package protocol

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/gracchus-mq/gracchus/internal/traffic"
)

func frameOf(body []byte) []byte {
	n := len(body)
	return append([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}

func TestReadFrame(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789"), 50_000)
	stream := append(append(frameOf(large), frameOf(nil)...), frameOf([]byte("last"))...)
	for name, r := range map[string]io.Reader{"at once": bytes.NewReader(stream), "byte by byte": iotest.OneByteReader(bytes.NewReader(stream))} {
		t.Run(name, func(t *testing.T) {
			var buf []byte
			for _, want := range [][]byte{large, {}, []byte("last")} {
				got, err := ReadFrame(r, int32(len(large)), buf)
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%d bytes, %v; want %d", len(got), err, len(want))
				}
				if cap(buf) > len(large) && len(want) > 0 && &got[0] != &buf[:1][0] {
					t.Error("the buffer was large enough and not used")
				}
				buf = got
			}
			if _, err := ReadFrame(r, 100, buf); err != io.EOF {
				t.Errorf("at the end: %v", err)
			}
		})
	}
}

func TestReadFrameRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		in  []byte
		err error
	}{
		"size cut off":  {[]byte{0, 0}, io.ErrUnexpectedEOF},
		"body missing":  {[]byte{0, 0, 0, 5}, io.ErrUnexpectedEOF},
		"body cut off":  {[]byte{0, 0, 0, 5, 1, 2}, io.ErrUnexpectedEOF},
		"negative size": {[]byte{0xff, 0, 0, 0}, ErrFrameSize},
		"above limit":   {[]byte{0, 0, 0, 101}, ErrFrameSize},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := ReadFrame(bytes.NewReader(c.in), 100, nil); !errors.Is(err, c.err) || got != nil {
				t.Errorf("%x, %v; want %v", got, err, c.err)
			}
		})
	}
}

// TestReadFrameBelievesOnlyBytes: a peer that announces a large frame and sends
// little must not make us allocate it.
func TestReadFrameBelievesOnlyBytes(t *testing.T) {
	in := append([]byte{0x40, 0, 0, 0}, make([]byte, 1000)...)
	capacity := 0
	r := readerFunc(func(p []byte) (int, error) {
		capacity = max(capacity, cap(p))
		n := copy(p, in)
		if in = in[n:]; n == 0 {
			return 0, io.EOF
		}
		return n, nil
	})
	if _, err := ReadFrame(r, 1<<30, nil); err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
	if capacity > 2*frameStep {
		t.Errorf("a buffer of %d bytes for 1,000 bytes", capacity)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestReadFrameReusesWithoutAllocating(t *testing.T) {
	in := frameOf(make([]byte, 5000))
	r := bytes.NewReader(in)
	buf := make([]byte, 0, 8192)
	allocs := testing.AllocsPerRun(100, func() {
		r.Reset(in)
		if _, err := ReadFrame(r, 10_000, buf); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add(frameOf([]byte("body")))
	for _, frame := range traffic.Kafka(f) {
		f.Add(traffic.Sized(frame.Bytes))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := ReadFrame(bytes.NewReader(in), 1<<20, nil)
		if err == nil && !bytes.Equal(got, in[4:4+len(got)]) {
			t.Fatalf("%x from %x", got, in)
		}
	})
}
