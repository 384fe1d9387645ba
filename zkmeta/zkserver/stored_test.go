package zkserver

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/internal/traffic"
	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
)

func TestStoredFormats(t *testing.T) {
	n := &node{nodeState: nodeState{czxid: 1, mzxid: 2, pzxid: 3, ctime: 4, mtime: 5, owner: 6, version: 7, aversion: 8, creates: 9,
		acl: openACL, data: []byte("d")}}
	want := "01" + "0000000000000001" + "0000000000000002" + "0000000000000003" + "0000000000000004" + "0000000000000005" + "0000000000000006" +
		"00000007" + "00000008" + "00000009" + "00000001" + "0000001f" + "00000005" + "776f726c64" + "00000006" + "616e796f6e65" + "00000001" + "64"
	if got := hex.EncodeToString(n.encode()); got != want {
		t.Errorf("node\n%s, want\n%s", got, want)
	}
	for _, data := range [][]byte{nil, {}, []byte("x")} {
		n.data = data
		back, err := decodeNode(n.encode())
		if err != nil || !reflect.DeepEqual(back, n) {
			t.Errorf("%+v %v, want %+v", back, err, n)
		}
	}
	s := &session{id: 0x0100000000000002, password: bytes.Repeat([]byte{0xab}, 16), timeout: 18 * time.Second}
	want = "01" + "0000000000004650" + "00000010" + strings.Repeat("ab", 16)
	if got := hex.EncodeToString(s.encode()); got != want || sessionKey(s.id) != "0100000000000002" {
		t.Errorf("session %s %s, want %s", sessionKey(s.id), got, want)
	}
	back, err := decodeSession(sessionKey(s.id), s.encode())
	if err != nil || back.id != s.id || back.timeout != s.timeout || !bytes.Equal(back.password, s.password) {
		t.Errorf("%+v %v", back, err)
	}
}

func FuzzStored(f *testing.F) {
	f.Add("0100000000000002", (&node{nodeState: nodeState{data: []byte("x"), acl: openACL}}).encode())
	f.Add("/", (&node{nodeState: nodeState{owner: containerOwner, acl: []zkproto.ACL{{Perms: 1, Scheme: "digest", ID: "a:b"}}}}).encode())
	f.Add("ffffffffffffffff", (&session{password: make([]byte, 16), timeout: time.Second}).encode())
	f.Add("", []byte{1})
	for _, frame := range traffic.ZooKeeper(f) { // what is stored of the nodes that Kafka creates
		create := &zkproto.CreateRequest{}
		if _, body, err := zkproto.ParseRequest(frame.Bytes); err == nil && !frame.Reply && frame.Op == int32(zkproto.OpCreate) && zkproto.Unmarshal(body, create) == nil {
			f.Add(create.Path, (&node{nodeState: nodeState{data: create.Data, acl: create.ACL, czxid: 1, ctime: 2}}).encode())
		}
	}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		if n, err := decodeNode(value); err == nil {
			if back, err := decodeNode(n.encode()); err != nil || !reflect.DeepEqual(back, n) {
				t.Fatalf("%+v %v, want %+v", back, err, n)
			}
		}
		if s, err := decodeSession(key, value); err == nil {
			if !strings.EqualFold(sessionKey(s.id), key) {
				t.Fatalf("session %x from key %q", s.id, key)
			}
			if _, err := decodeSession(key, s.encode()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestValidPath(t *testing.T) {
	for path, want := range map[string]bool{
		"/": true, "/a": true, "/a/b": true, "/...": true, "/.a": true, "/a.": true, "/a..b": true, "/ü": true, "/\ue000": false,
		"": false, "a": false, "//": false, "/a/": false, "/a//b": false, "/.": false, "/..": false, "/a/./b": false, "/a/..": false,
		"/\x00": false, "/\x1f": false, "/\x7f": false, "/\u009f": false, "/\u00a0": true, "/\ud7ff": true, "/\uf8ff": false, "/\uf900": true,
		"/\uffef": true, "/\ufff0": false, "/\U00010000": false, "/" + strings.Repeat("x", maxPathBytes): false, "/" + strings.Repeat("x", maxPathBytes-1): true,
	} {
		if validPath(path) != want {
			t.Errorf("%.20q: %v", path, !want)
		}
	}
}
