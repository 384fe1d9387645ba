package zkproto

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gracchus-mq/gracchus/internal/traffic"
)

var stat = Stat{Czxid: 1, Mzxid: 2, Ctime: 3, Mtime: 4, Version: 5, Cversion: 6, Aversion: 7, EphemeralOwner: 8, DataLength: 9, NumChildren: 10, Pzxid: 11}

const statHex = "0000000000000001 0000000000000002 0000000000000003 0000000000000004 00000005 00000006 00000007" +
	"0000000000000008 00000009 0000000a 000000000000000b"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// golden holds a record of each kind in the bytes that zookeeper.jute of 3.8
// gives it.
var golden = []struct {
	name  string
	value Record
	bytes string
}{
	{"connect", &ConnectRequest{LastZxidSeen: 2, TimeoutMS: 6000, SessionID: 3, Password: []byte{1, 2}},
		"00000000 0000000000000002 00001770 0000000000000003 00000002 0102"},
	{"connect, read-only byte", &ConnectRequest{TimeoutMS: 1, Password: []byte{}, ReadOnly: true, HasReadOnly: true},
		"00000000 0000000000000000 00000001 0000000000000000 00000000 01"},
	{"connected", &ConnectResponse{TimeoutMS: 6000, SessionID: 3, Password: []byte{7}}, "00000000 00001770 0000000000000003 00000001 07"},
	{"connected, read-only byte", &ConnectResponse{HasReadOnly: true}, "00000000 00000000 0000000000000000 ffffffff 00"},
	{"request header", &RequestHeader{XID: 1, Op: OpGetData}, "00000001 00000004"},
	{"reply header", &ReplyHeader{XID: -2, Zxid: 5, Err: ErrNoNode}, "fffffffe 0000000000000005 ffffff9b"},
	{"create", &CreateRequest{Path: "/a", Data: []byte("d"), ACL: WorldACL(PermAll), Mode: ModeEphemeralSequential},
		"00000002 2f61 00000001 64 00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 00000003"},
	{"create, null data", &CreateRequest{Path: "/a"}, "00000002 2f61 ffffffff 00000000 00000000"},
	{"create, empty data", &CreateRequest{Path: "/a", Data: []byte{}}, "00000002 2f61 00000000 00000000 00000000"},
	{"createTTL", &CreateTTLRequest{CreateRequest{Path: "/a", Mode: ModePersistentTTL}, 9}, "00000002 2f61 ffffffff 00000000 00000005 0000000000000009"},
	{"delete", &DeleteRequest{Path: "/a", Version: -1}, "00000002 2f61 ffffffff"},
	{"getData", &PathWatchRequest{Path: "/a", Watch: true}, "00000002 2f61 01"},
	{"setData", &SetDataRequest{Path: "/a", Version: 3}, "00000002 2f61 ffffffff 00000003"},
	{"sync", &PathRequest{Path: "/"}, "00000001 2f"},
	{"setACL", &SetACLRequest{Path: "/", ACL: []ACL{{1, "digest", "a:b"}}, Version: 2}, "00000001 2f 00000001 00000001 00000006 646967657374 00000003 613a62 00000002"},
	{"auth", &AuthRequest{Scheme: "d", Auth: []byte("x")}, "00000000 00000001 64 00000001 78"},
	{"setWatches", &SetWatchesRequest{RelativeZxid: 4, Data: []string{"/a"}, Child: []string{"/b", "/c"}},
		"0000000000000004 00000001 00000002 2f61 00000000 00000002 00000002 2f62 00000002 2f63"},
	{"setWatches2", &SetWatches2Request{SetWatchesRequest{Exist: []string{"/a"}}, []string{"/p"}, []string{"/r"}},
		"0000000000000000 00000000 00000001 00000002 2f61 00000000 00000001 00000002 2f70 00000001 00000002 2f72"},
	{"addWatch", &AddWatchRequest{Path: "/a", Mode: AddWatchPersistentRecursive}, "00000002 2f61 00000001"},
	{"removeWatches", &WatchesRequest{Path: "/a", Type: WatcherAny}, "00000002 2f61 00000003"},
	{"multi", &MultiRequest{Ops: []Operation{
		{OpCheck, &DeleteRequest{Path: "/a", Version: 1}},
		{OpSetData, &SetDataRequest{Path: "/b", Data: []byte{}, Version: 2}},
	}}, "0000000d 00 ffffffff 00000002 2f61 00000001  00000005 00 ffffffff 00000002 2f62 00000000 00000002  ffffffff 01 ffffffff"},
	{"multi of nothing", &MultiRequest{}, "ffffffff 01 ffffffff"},
	{"path", &PathResponse{Path: "/a"}, "00000002 2f61"},
	{"create2 reply", &Create2Response{Path: "/a", Stat: stat}, "00000002 2f61" + statHex},
	{"stat", &StatResponse{Stat: stat}, statHex},
	{"data, null", &GetDataResponse{Stat: stat}, "ffffffff" + statHex},
	{"data, empty", &GetDataResponse{Data: []byte{}, Stat: stat}, "00000000" + statHex},
	{"children", &GetChildrenResponse{Children: []string{"a", "bc"}}, "00000002 00000001 61 00000002 6263"},
	{"children2", &GetChildren2Response{Stat: stat}, "00000000" + statHex},
	{"ACL", &GetACLResponse{ACL: []ACL{{31, "world", "anyone"}}, Stat: stat}, "00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65" + statHex},
	{"ephemerals", &GetEphemeralsResponse{Ephemerals: []string{"/a"}}, "00000001 00000002 2f61"},
	{"count", &GetAllChildrenNumberResponse{Total: 7}, "00000007"},
	{"whoAmI", &WhoAmIResponse{ClientInfo: []ClientInfo{{"ip", "::1"}}}, "00000001 00000002 6970 00000003 3a3a31"},
	{"error", &ErrorResponse{Err: ErrNoAuth}, "ffffff9a"},
	{"multi reply", &MultiResponse{Results: []Result{
		{Op: OpCreate, Response: &PathResponse{Path: "/a"}},
		{Op: OpDelete},
		{Op: OpSetData, Response: &StatResponse{Stat: stat}},
		{Op: OpCreate2, Response: &Create2Response{Path: "/a", Stat: stat}},
	}}, "00000001 00 00000000 00000002 2f61  00000002 00 00000000  00000005 00 00000000" + statHex + "0000000f 00 00000000 00000002 2f61" + statHex + "ffffffff 01 ffffffff"},
	{"failed multi", &MultiResponse{Results: []Result{{Op: OpError}, {Op: OpError, Err: ErrBadVersion}, {Op: OpError, Err: ErrRuntimeInconsistency}}},
		"ffffffff 00 00000000 00000000  ffffffff 00 ffffff99 ffffff99  ffffffff 00 fffffffe fffffffe  ffffffff 01 ffffffff"},
	{"event", &WatcherEvent{Type: EventNodeDeleted, State: StateSyncConnected, Path: "/a"}, "00000002 00000003 00000002 2f61"},
	{"nothing", &Empty{}, ""},
}

func TestGoldenBytes(t *testing.T) {
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			want := unhex(t, g.bytes)
			if got := g.value.Encode(nil); !bytes.Equal(got, want) {
				t.Errorf("encoded\n%x, want\n%x", got, want)
			}
			got := reflect.New(reflect.TypeOf(g.value).Elem()).Interface().(Record)
			if err := Unmarshal(want, got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, g.value) {
				t.Errorf("decoded %+v, want %+v", got, g.value)
			}
			// Every shorter record is an error, except where the last
			// byte of a connect record may be missing.
			for n := range want {
				short := reflect.New(reflect.TypeOf(g.value).Elem()).Interface().(Record)
				err := Unmarshal(want[:n], short)
				if optional := n == len(want)-1 && strings.HasSuffix(g.name, "read-only byte"); (err == nil) != optional {
					t.Errorf("the first %d bytes: %v", n, err)
				} else if err != nil && !errors.Is(err, ErrMalformed) {
					t.Errorf("the first %d bytes: %v does not wrap ErrMalformed", n, err)
				}
			}
		})
	}
}

func TestNullsFromOtherClients(t *testing.T) {
	var set SetWatchesRequest // null vectors
	if err := Unmarshal(unhex(t, "0000000000000004 ffffffff ffffffff ffffffff"), &set); err != nil || set.RelativeZxid != 4 {
		t.Errorf("%+v %v", set, err)
	}
	var create CreateRequest
	if err := Unmarshal(unhex(t, "00000002 2f61 ffffffff ffffffff 00000000"), &create); err != nil || create.ACL != nil {
		t.Errorf("%+v %v", create, err)
	}
	var get PathWatchRequest
	if err := Unmarshal(unhex(t, "ffffffff 00"), &get); !errors.Is(err, ErrMalformed) {
		t.Errorf("null path: %v", err)
	}
	var sync PathRequest
	if err := Unmarshal(unhex(t, "ffffffff"), &sync); err != nil || sync.Path != "" {
		t.Errorf("%+v %v", sync, err)
	}
	if err := Unmarshal(unhex(t, "00000003 2fff61"), &sync); err != nil || sync.Path != "/\uFFFDa" {
		t.Errorf("not UTF-8: %q %v", sync.Path, err)
	}
}

func TestMixedMulti(t *testing.T) {
	read := Operation{OpGetData, &PathWatchRequest{Path: "/a"}}
	write := Operation{OpDelete, &DeleteRequest{Path: "/a"}}
	for _, ops := range [][]Operation{{read, write}, {write, read}, {write, write, read}} {
		b := (&MultiRequest{Ops: ops}).Encode(nil)
		if err := Unmarshal(b, &MultiRequest{}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v: %v", ops, err)
		}
	}
	for _, op := range []Op{OpMulti, OpPing, OpExists, OpSetACL, OpError, 99} {
		b := AppendInt(appendMultiHeader(nil, op, false, -1), 0)
		if err := Unmarshal(b, &MultiRequest{}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v in a multi: %v", op, err)
		}
	}
}

func TestMultiResponseErr(t *testing.T) {
	r := MultiResponse{Results: []Result{{Op: OpError}, {Op: OpError, Err: ErrNoNode}, {Op: OpError, Err: ErrRuntimeInconsistency}}}
	if i, err := r.Err(); i != 1 || !errors.Is(err, ErrNoNode) {
		t.Errorf("%d %v", i, err)
	}
	r = MultiResponse{Results: []Result{{Op: OpCheck}}}
	if i, err := r.Err(); i != -1 || err != nil {
		t.Errorf("%d %v", i, err)
	}
}

// Counts and lengths that promise more than is there cost nothing.
func TestHostileCounts(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, b := range []string{
		"7fffffff", "00000001 7fffffff", "80000000", "fffffffe",
		"0000000000000000 7fffffff", "00000000 7fffffff 7fffffff", "0000000100000000 7fffffff",
	} {
		raw := append(unhex(t, b), make([]byte, 64)...)
		for op := Op(-11); op < 110; op++ {
			for _, r := range []Record{NewRequest(op), NewResponse(op)} {
				if r != nil {
					_ = Unmarshal(raw, r)
				}
			}
		}
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
		t.Errorf("%d bytes allocated", used)
	}
}

func TestReadFrame(t *testing.T) {
	frame := AppendRequest(nil, RequestHeader{XID: 1, Op: OpExists}, &PathWatchRequest{Path: "/" + strings.Repeat("x", 200_000)})
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(frame), "bytewise": iotest.OneByteReader(bytes.NewReader(frame)),
	} {
		got, err := ReadFrame(r, 1<<20, make([]byte, 10))
		if err != nil || !bytes.Equal(got, frame[4:]) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if _, err := ReadFrame(r, 1<<20, nil); err != io.EOF {
			t.Errorf("%s: at the end: %v", name, err)
		}
	}
	for n, want := range map[int]error{0: io.EOF, 1: io.ErrUnexpectedEOF, 4: io.ErrUnexpectedEOF, len(frame) - 1: io.ErrUnexpectedEOF} {
		if _, err := ReadFrame(bytes.NewReader(frame[:n]), 1<<20, nil); err != want {
			t.Errorf("%d bytes: %v, want %v", n, err, want)
		}
	}
	for _, head := range []string{"ffffffff", "80000000", "7fffffff", "00100001"} {
		if _, err := ReadFrame(bytes.NewReader(unhex(t, head)), 1<<20, nil); !errors.Is(err, ErrFrameTooLarge) {
			t.Errorf("%s: %v", head, err)
		}
	}
	// A large length with nothing behind it reserves one step at most.
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := ReadFrame(bytes.NewReader(unhex(t, "03f00000 01")), 64<<20, nil)
	runtime.ReadMemStats(&after)
	if err != io.ErrUnexpectedEOF || after.TotalAlloc-before.TotalAlloc > 1<<20 {
		t.Errorf("%v, %d bytes allocated", err, after.TotalAlloc-before.TotalAlloc)
	}
	buf := make([]byte, 0, 300_000)
	if got, err := ReadFrame(bytes.NewReader(frame), 1<<20, buf); err != nil || &got[0] != &buf[:1][0] {
		t.Errorf("the buffer was not used: %v", err)
	}
}

func TestFrames(t *testing.T) {
	b := AppendReply(nil, ReplyHeader{XID: 1, Err: ErrNoNode}, &PathResponse{Path: "/ignored"})
	if want := unhex(t, "00000010 00000001 0000000000000000 ffffff9b"); !bytes.Equal(b, want) {
		t.Errorf("error reply %x, want %x", b, want)
	}
	b = AppendEvent([]byte{9}, -1, WatcherEvent{EventNodeCreated, StateSyncConnected, "/"})
	if want := unhex(t, "09 0000001d ffffffff ffffffffffffffff 00000000 00000001 00000003 00000001 2f"); !bytes.Equal(b, want) {
		t.Errorf("event %x, want %x", b, want)
	}
	h, body, err := ParseReply(b[5:])
	if err != nil || h.XID != XIDWatch || h.Zxid != -1 || len(body) != 13 {
		t.Errorf("%+v %x %v", h, body, err)
	}
	if _, _, err := ParseRequest([]byte{1, 2, 3}); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	if Error(0).AsError() != nil || !errors.Is(ErrNoNode.AsError(), ErrNoNode) {
		t.Error("AsError")
	}
	for e, name := range errorNames {
		if e >= 0 || name == "" || e.Error() != "zookeeper: "+name {
			t.Errorf("%d: %q", e, e.Error())
		}
	}
	if got := Error(-999).Error(); got != "zookeeper: error -999" {
		t.Error(got)
	}
}

// FuzzDecode decodes anything as every record: no panic, and what decodes
// encodes and decodes to the same again.
func FuzzDecode(f *testing.F) {
	for _, g := range golden {
		for op := range 110 {
			if r := NewRequest(Op(op)); r != nil && reflect.TypeOf(r) == reflect.TypeOf(g.value) {
				f.Add(int32(op), true, unhex(f, g.bytes))
			}
			if r := NewResponse(Op(op)); r != nil && reflect.TypeOf(r) == reflect.TypeOf(g.value) {
				f.Add(int32(op), false, unhex(f, g.bytes))
			}
		}
		f.Add(int32(-1), true, unhex(f, g.bytes))
		f.Add(int32(-1), false, unhex(f, g.bytes))
	}
	for _, frame := range traffic.ZooKeeper(f) {
		body, err := frame.Bytes, error(nil)
		switch {
		case frame.Op == -1: // has no header
		case frame.Reply:
			_, body, err = ParseReply(body)
		default:
			_, body, err = ParseRequest(body)
		}
		if err != nil {
			f.Fatalf("%s: %v", frame.Origin, err)
		}
		f.Add(frame.Op, !frame.Reply, body)
	}
	f.Fuzz(func(t *testing.T, op int32, request bool, b []byte) {
		var r, again Record
		switch {
		case op == -1 && request:
			r, again = &ConnectRequest{}, &ConnectRequest{}
		case op == -1:
			r, again = &ConnectResponse{}, &ConnectResponse{}
		case request:
			r, again = NewRequest(Op(op)), NewRequest(Op(op))
		default:
			r, again = NewResponse(Op(op)), NewResponse(Op(op))
		}
		if r == nil || Unmarshal(b, r) != nil {
			return
		}
		encoded := r.Encode(nil)
		if err := Unmarshal(encoded, again); err != nil {
			t.Fatalf("%+v encodes to %x, which is %v", r, encoded, err)
		}
		if !bytes.Equal(again.Encode(nil), encoded) {
			t.Fatalf("%+v is not %+v", again, r)
		}
	})
}
