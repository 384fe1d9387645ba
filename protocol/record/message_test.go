package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// goldenSet is a message set that Kafka 3.9's own classes wrote: three records
// from offset 7 on, the one with LogAppendTime at goldenTime + 9000.
type goldenSet struct {
	magic      int8
	codec      Codec
	timestamps TimestampType
	hex        string
}

var goldenSets = []goldenSet{
	{0, None, CreateTime, "0000000000000007000000291a7c872c0000000000016b0000001a677261636368757320677261636368757320677261636368757300000000000000080000000e795748e00000ffffffff0000000000000000000000090000000e3d314895000000000000ffffffff"},
	{0, Gzip, CreateTime, "00000000000000090000005a13d727e70001ffffffff0000004c1f8b08000000000000ff636000037620d694aa69d701f318b38184547a516272724669b1020603a287810388f92ac33d1e3030fc07020604e004c9d81a7a4c857041b200b7af4f1369000000"},
	{0, Snappy, CreateTime, "00000000000000090000007074dba9910002ffffffff0000006282534e415050590000000001000000010000004e69000009012007000000291a7c872c050f38016b0000001a6772616363687573204209000525440000080000000e795748e00000ffffffff0019010009011a343d314895000000000000ffffffff"},
	{0, LZ4, CreateTime, "00000000000000090000006ef465dbce0003ffffffff0000006004224d1860401a51000000120001009107000000291a7c872c0f00fd00016b0000001a6772616363687573200900012500f0020000080000000e795748e00000ffffffff130003020010091a00e03d314895000000000000ffffffff00000000"},
	{1, None, CreateTime, "000000000000000700000031b17e8ee501000000018bcfe56800000000016b0000001a677261636368757320677261636368757320677261636368757300000000000000080000001634cd6bb701000000018bcfe56805ffffffff000000000000000000000009000000168278794b01000000018bcfe567ff00000000ffffffff"},
	{1, None, LogAppendTime, "000000000000000700000031388423a601080000018bcfe58b28000000016b0000001a67726163636875732067726163636875732067726163636875730000000000000008000000167db6f7af01080000018bcfe58b28ffffffff0000000000000000000000090000001639d0f7da01080000018bcfe58b2800000000ffffffff"},
	{1, Gzip, CreateTime, "00000000000000090000006cf596852a01010000018bcfe56805ffffffff000000561f8b08000000000000ff63608003c38d757d4f19810cc6eef34f3340228cd940422abd28313939a3b458018301d508d2236672367b3b5c33eb7f204098ccc00452d15451e90d53910e9605a9020016979fb081000000"},
	{1, Gzip, LogAppendTime, "00000000000000090000006c128b14c801090000018bcfe58b28ffffffff000000561f8b08000000000000ff63608003438b16e5658c1c0c0c8cdde79f766b004518b38184547a516272724669b1020603aa911188c56ab77d5f8fd0fc1f08102633308154585ef87e0bc57806902a0021529b3481000000"},
	{1, Snappy, CreateTime, "000000000000000900000086a90c333701020000018bcfe56805ffffffff0000007082534e415050590000000001000000010000005c8101000019013431b17e8ee501000000018bcfe568011838016b0000001a677261636368757320420900012401301c0000001634cd6bb70109053d1005ffffffff011b0d012002000000168278794b11222467ff00000000ffffffff"},
	{1, LZ4, CreateTime, "00000000000000090000007f02d9c8ed01030000018bcfe56805ffffffff0000006904224d186040825a00000016000100e031b17e8ee501000000018bcfe5681800fd00016b0000001a6772616363687573200900002400003000850000001634cd6bb73d005105ffffffff1c0002020010022200448278794b2200a067ff00000000ffffffff00000000"},
}

func (g goldenSet) String() string {
	return fmt.Sprintf("format %d, %v, %v", g.magic, g.codec, g.timestamps)
}

// content is what a reader makes of the set.
func (g goldenSet) content() string {
	times := [3]int64{goldenTime, goldenTime + 5, goldenTime - 1}
	for i := range times {
		if g.magic == 0 {
			times[i] = NoTimestamp
		} else if g.timestamps == LogAppendTime {
			times[i] = goldenTime + 9000
		}
	}
	return fmt.Sprintf(`7@%d:"k"="gracchus gracchus gracchus" 8@%d:null="" 9@%d:""=null `, times[0], times[1], times[2])
}

// setContent shows the records of a message set, and fails if a checksum is
// wrong.
func setContent(t testing.TB, set []byte) string {
	t.Helper()
	var out strings.Builder
	for len(set) > 0 {
		b, rest, err := NextEntry(set)
		if err != nil || b.Magic() > 1 {
			t.Fatalf("%x: format %d, %v", set, b.Magic(), err)
		}
		m := Message(b)
		if err := m.CheckCRC(); err != nil {
			t.Fatal(err)
		}
		for r, err := range m.Records(1 << 20) {
			if err != nil {
				t.Fatal(err)
			}
			if err := r.message.CheckCRC(); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "%d@%d:%s=%s ", r.Offset, r.Timestamp, quoted(r.Key), quoted(r.Value))
		}
		set = rest
	}
	return out.String()
}

func quoted(b []byte) string {
	if b == nil {
		return "null"
	}
	return fmt.Sprintf("%q", b)
}

func TestGoldenMessages(t *testing.T) {
	for _, g := range goldenSets {
		if got := setContent(t, unhex(t, g.hex)); got != g.content() {
			t.Errorf("%v: %s\nwant %s", g, got, g.content())
		}
	}
}

// testMessage is a message with a right checksum.
func testMessage(magic int8, attributes byte, offset, timestamp int64, key, value []byte) Message {
	return appendMessage(nil, magic, attributes, offset, timestamp, key, value)
}

// wrapped is a wrapper of format 1 around messages.
func wrapped(t testing.TB, codec Codec, offset int64, messages ...Message) Message {
	value, err := compressMessages(nil, bytes.Join(asBytes(messages), nil), codec, 1)
	if err != nil {
		t.Fatal(err)
	}
	return testMessage(1, byte(codec), offset, goldenTime, nil, value)
}

func asBytes(messages []Message) (out [][]byte) {
	for _, m := range messages {
		out = append(out, m)
	}
	return out
}

// resummed changes a message and makes its size and checksum right again.
func resummed(m Message, change func(Message)) Message {
	m = bytes.Clone(m)
	change(m)
	binary.BigEndian.PutUint32(m[posLength:], uint32(len(m)-LogOverhead))
	binary.BigEndian.PutUint32(m[posMessageCRC:], crc32.ChecksumIEEE(m[posMagic:]))
	return m
}

func TestOffsetsInsideOfAWrapper(t *testing.T) {
	inner := func(magic int8, offset int64) Message {
		return testMessage(magic, 0, offset, goldenTime, nil, []byte("v"))
	}
	for name, tt := range map[string]struct {
		wrapper Message
		want    []int64
	}{
		"relative":                 {wrapped(t, Gzip, 12, inner(1, 0), inner(1, 1), inner(1, 2)), []int64{10, 11, 12}},
		"relative, with a gap":     {wrapped(t, Gzip, 19, inner(1, 3), inner(1, 9)), []int64{13, 19}},
		"wrapper at 0":             {wrapped(t, Gzip, 0, inner(1, 0), inner(1, 1)), []int64{0, 1}},
		"absolute, as in format 0": {wrapped(t, Gzip, 12, inner(1, 11), inner(1, 12)), []int64{11, 12}},
		"the wrapper is of format 0": {resummed(wrapped(t, Gzip, 12, inner(0, 3), inner(0, 4)), func(m Message) {
			copy(m[posMessageContent0:], m[posMessageContent1:])
			m[posMagic] = 0
		}), []int64{3, 4}},
	} {
		var got []int64
		for r, err := range tt.wrapper.Records(1 << 10) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got = append(got, r.Offset)
		}
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: offsets %v, want %v", name, got, tt.want)
		}
	}
}

// Where the broker set the time, that of the wrapper is the time of all inside,
// whatever their producer said.
func TestLogAppendTimeOfAWrapper(t *testing.T) {
	inside := wrapped(t, Gzip, 1, testMessage(1, 0, 0, 5, nil, nil), testMessage(0, 0, 1, 0, nil, nil))
	inside = resummed(inside, func(m Message) { m[posMessageAttributes] |= attrLogAppendTime })
	var got []int64
	for r, err := range inside.Records(1 << 10) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.Timestamp)
	}
	if want := []int64{goldenTime, NoTimestamp}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("timestamps %v, want %v", got, want)
	}
}

// badMessages are messages with a right checksum that cannot be read.
func badMessages(t testing.TB) map[string]Message {
	one := testMessage(1, 0, 0, goldenTime, []byte("k"), []byte("v"))
	bytesOf := func(set []byte) Message {
		value, err := compressMessages(nil, set, Gzip, 1)
		if err != nil {
			t.Fatal(err)
		}
		return testMessage(1, byte(Gzip), 0, goldenTime, nil, value)
	}
	small := bytes.Clone(one)
	binary.BigEndian.PutUint32(small[posLength:], 13)
	return map[string]Message{
		"key does not fit":        resummed(one, func(m Message) { binary.BigEndian.PutUint32(m[posMessageContent1:], 99) }),
		"value does not fit":      resummed(one, func(m Message) { binary.BigEndian.PutUint32(m[posMessageContent1+5:], 2) }),
		"value's size cut off":    resummed(one[:len(one)-3], func(m Message) {}),
		"too small for format 1":  resummed(one[:26], func(m Message) {}),
		"wrapper without value":   testMessage(1, byte(Gzip), 0, goldenTime, nil, nil),
		"wrapper of nothing":      bytesOf(nil),
		"only a part inside":      bytesOf(one[:len(one)-1]),
		"size 13 inside":          bytesOf(small),
		"zstd":                    testMessage(1, byte(Zstd), 0, goldenTime, nil, []byte("zstd")),
		"codec 7":                 testMessage(1, 7, 0, goldenTime, nil, []byte("seven")),
		"no gzip":                 testMessage(1, byte(Gzip), 0, goldenTime, nil, []byte("no gzip")),
		"LZ4 of format 0 cut off": testMessage(0, byte(LZ4), 0, goldenTime, nil, []byte{4, 0x22, 0x4d, 0x18, 0x68, 0x40, 1, 2, 3}),
		"wrapper inside":          wrapped(t, Gzip, 5, wrapped(t, Gzip, 0, one)),
		"offset of the wrapper":   wrapped(t, Gzip, 1, testMessage(1, 0, 2, goldenTime, nil, nil)),
		"negative offset inside":  wrapped(t, Gzip, 1, testMessage(1, 0, -2, goldenTime, nil, nil)),
	}
}

func TestMessagesThatCannotBeRead(t *testing.T) {
	for name, m := range badMessages(t) {
		var err error
		for _, e := range m.Records(1 << 10) {
			err = e
		}
		if !errors.Is(err, kerr.InvalidRecord) && !errors.Is(err, kerr.CorruptMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	large := wrapped(t, Gzip, 0, testMessage(1, 0, 0, goldenTime, nil, make([]byte, 2000)))
	for _, err := range large.Records(1000) {
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("more than the bound: %v", err)
		}
	}
}

func TestMessageChecksum(t *testing.T) {
	for _, g := range goldenSets {
		set := unhex(t, g.hex)
		set[len(set)-1] ^= 1
		last := Message(set)
		for rest := set; len(rest) > 0; {
			b, r, err := NextEntry(rest)
			if err != nil {
				t.Fatal(err)
			}
			last, rest = Message(b), r
		}
		if err := last.CheckCRC(); !errors.Is(err, kerr.CorruptMessage) {
			t.Errorf("%v: %v", g, err)
		}
	}
}

func FuzzMessages(f *testing.F) {
	for _, set := range recordedSets(f) {
		f.Add(set)
	}
	for _, g := range goldenSets {
		f.Add(unhex(f, g.hex))
	}
	for _, m := range badMessages(f) {
		f.Add([]byte(m))
	}
	f.Fuzz(func(t *testing.T, set []byte) {
		const limit = 1 << 16
		for len(set) > 0 {
			b, rest, err := NextEntry(set)
			if err != nil {
				return
			}
			if b.Magic() < 2 {
				size := 0
				for r, err := range Message(b).Records(limit) {
					if err != nil {
						break
					}
					size += len(r.Key) + len(r.Value)
				}
				if size > max(limit, len(b)) {
					t.Fatalf("%d bytes of records in %d", size, len(b))
				}
			}
			set = rest
		}
	})
}
