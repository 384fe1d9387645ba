package record

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// goldenRecords is a batch with the records of goldenSets.
func goldenRecords(t testing.TB, codec Codec, timestamps TimestampType) Batch {
	b := NewBuilder().SetBaseOffset(7).SetLeaderEpoch(3).SetCodec(codec, DefaultLevel)
	if timestamps == LogAppendTime {
		b.SetLogAppendTime(goldenTime + 9000)
	}
	b.Append(goldenTime, []byte("k"), []byte("gracchus gracchus gracchus"), Header{Key: []byte("h"), Value: []byte("lost")})
	b.Append(goldenTime+5, nil, []byte{})
	b.Append(goldenTime-1, []byte{}, nil)
	return mustBuild(t, b)
}

func down(t testing.TB, entry Batch, magic int8, from int64) []byte {
	t.Helper()
	out, err := DownConvert([]byte("before"), entry, magic, from, 1<<20, 1<<20)
	if err != nil || !bytes.HasPrefix(out, []byte("before")) {
		t.Fatalf("%q, %v", out, err)
	}
	return out[6:]
}

// The result is what Kafka makes: byte for byte where nothing is compressed.
func TestDownConvertGolden(t *testing.T) {
	for _, g := range goldenSets {
		got := down(t, goldenRecords(t, g.codec, g.timestamps), g.magic, 7)
		want := unhex(t, g.hex)
		if g.codec == None && !bytes.Equal(got, want) {
			t.Errorf("%v: %x\nwant %x", g, got, want)
		}
		if c := setContent(t, got); c != g.content() {
			t.Errorf("%v: %s\nwant %s", g, c, g.content())
		}
		if g.codec == None {
			continue
		}
		if a, b := Message(got), Message(want); a.Offset() != b.Offset() || a.Timestamp() != b.Timestamp() || a[posMessageAttributes] != b[posMessageAttributes] || a.Magic() != b.Magic() {
			t.Errorf("%v: wrapper %x\nwant    %x", g, got[:26], want[:26])
		}
		if header := messageHeader(g.magic) + 8; g.codec == LZ4 && !bytes.Equal(got[header:header+lz4MinHeader], want[header:header+lz4MinHeader]) {
			t.Errorf("%v: LZ4 header %x, want %x", g, got[header:header+lz4MinHeader], want[header:header+lz4MinHeader])
		}
	}
}

// Stored messages are served as they are, or from format 1 to 0.
func TestDownConvertMessages(t *testing.T) {
	for _, g := range goldenSets {
		for magic := int8(0); magic < 2; magic++ {
			var got []byte
			for rest := unhex(t, g.hex); len(rest) > 0; {
				var b Batch
				var err error
				if b, rest, err = NextEntry(rest); err != nil {
					t.Fatal(err)
				}
				got = append(got, down(t, b, magic, 0)...)
			}
			if magic >= g.magic {
				if !bytes.Equal(got, unhex(t, g.hex)) {
					t.Errorf("%v to %d: changed to %x", g, magic, got)
				}
				continue
			}
			want := g
			want.magic = magic
			if c := setContent(t, got); c != want.content() || Message(got).Magic() != 0 || Message(got).Codec() != g.codec {
				t.Errorf("%v to 0: %s, want %s", g, c, want.content())
			}
		}
	}
}

func TestDownConvertFrom(t *testing.T) {
	plain, zipped := goldenRecords(t, None, CreateTime), goldenRecords(t, Gzip, CreateTime)
	offsets := func(set []byte) string {
		var out []int64
		for len(set) > 0 {
			b, rest, _ := NextEntry(set)
			for r := range Message(b).Records(1 << 20) {
				out = append(out, r.Offset)
			}
			set = rest
		}
		return fmt.Sprint(out)
	}
	for from, want := range map[int64]string{0: "[7 8 9]", 8: "[8 9]", 9: "[9]", 10: "[]"} {
		if got := offsets(down(t, plain, 1, from)); got != want {
			t.Errorf("from %d: %s, want %s", from, got, want)
		}
		if got := offsets(down(t, zipped, 1, from)); got != "[7 8 9]" {
			t.Errorf("from %d, compressed: %s", from, got)
		}
	}
	message := Batch(testMessage(1, 0, 7, goldenTime, nil, nil))
	for from, want := range map[int64]string{7: "[7]", 8: "[]"} {
		if got := offsets(down(t, message, 0, from)); got != want {
			t.Errorf("from %d, a message: %s, want %s", from, got, want)
		}
	}
	// No more than what is used of it: here the first message and the whole second.
	out, err := DownConvert(nil, plain, 1, 0, 62, 1<<20)
	if err != nil || offsets(out) != "[7 8]" {
		t.Errorf("62 bytes: %s, %v", offsets(out), err)
	}
}

func TestDownConvertLeavesOut(t *testing.T) {
	for name, b := range map[string]Batch{
		"a marker":     EndTxnMarker(1, 1, 1, true, goldenTime),
		"empty batch":  mustBuild(t, NewBuilder()),
		"empty, coded": mustBuild(t, NewBuilder().SetCodec(None, DefaultLevel)),
	} {
		if got := down(t, b, 1, 0); len(got) != 0 {
			t.Errorf("%s: %x", name, got)
		}
	}
	zstdMessage := testMessage(0, byte(Zstd), 0, 0, nil, []byte("x"))
	for name, b := range map[string]Batch{"batch": goldenRecords(t, Zstd, CreateTime), "message": Batch(zstdMessage)} {
		if _, err := DownConvert(nil, b, 1, 0, 1<<20, 1<<20); !errors.Is(err, kerr.UnsupportedCompressionType) {
			t.Errorf("zstd %s: %v", name, err)
		}
	}
	if _, err := DownConvert(nil, goldenRecords(t, Gzip, CreateTime), 1, 0, 1<<20, 10); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more than the bound: %v", err)
	}
	small := NewBuilder().SetCodec(Gzip, DefaultLevel)
	for range 100 { // 7 bytes each, as messages 34
		small.Append(goldenTime, nil, nil)
	}
	if _, err := DownConvert(nil, mustBuild(t, small), 1, 0, 1<<20, 1000); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more than the bound as messages: %v", err)
	}
}

func FuzzDownConvert(f *testing.F) {
	for _, g := range goldenSets {
		f.Add(unhex(f, g.hex), int64(8))
		f.Add([]byte(goldenRecords(f, g.codec, g.timestamps)), int64(8))
	}
	f.Add([]byte(goldenRecords(f, Zstd, CreateTime)), int64(0))
	for _, set := range recordedSets(f) {
		f.Add(set, int64(0))
	}
	f.Fuzz(func(t *testing.T, set []byte, from int64) {
		for len(set) > 0 {
			b, rest, err := NextEntry(set)
			if err != nil {
				return
			}
			for magic := int8(0); magic < 2; magic++ {
				out, err := DownConvert(nil, b, magic, from, 1<<16, 1<<16)
				if err != nil {
					continue
				}
				for len(out) > 0 {
					m, r, err := NextEntry(out)
					if err != nil || m.Magic() > magic || b.Magic() > magic && Message(m).CheckCRC() != nil {
						t.Fatalf("%x to %d: %x, %v", []byte(b), magic, out, err)
					}
					out = r
				}
			}
			set = rest
		}
	})
}
