package hostile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// expectClosed fails unless the broker closes the connection.
func expectClosed(t tb, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, c); err != nil && !isClosed(err) {
		t.Errorf("not closed: %v", err)
	}
}

func metadata() []byte {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(12)
	return frame(req)
}

// What cannot be a request ends its connection, with one line that says who and why,
// after the requests before it have been answered.
func TestBrokenFrames(t *testing.T) {
	v := start(t)
	size := func(n uint32, rest ...byte) []byte { return append(binary.BigEndian.AppendUint32(nil, n), rest...) }
	shorter := metadata() // than announced: the body ends too early
	binary.BigEndian.PutUint32(shorter, uint32(len(shorter)-4-3))
	counts := &kmsg.MetadataRequest{Version: 1}
	tooMany := frame(counts)
	copy(tooMany[len(tooMany)-4:], "\x7f\xff\xff\xff")
	for name, bad := range map[string][]byte{
		"negative size":      size(1<<32 - 1),
		"size of nothing":    size(0),
		"size of no header":  size(7, 0, 3, 0, 1, 0, 0, 0),
		"2 GiB":              size(1<<31 - 1),
		"101 MiB":            size(101<<20, 0, 0, 0, 9),
		"2 MiB of Metadata":  size(2<<20, 0, 3, 0, 9, 0, 0, 0, 1),
		"unknown key":        size(10, 0x7f, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff),
		"negative key":       size(10, 0xff, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff),
		"unknown version":    size(10, 0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff),
		"client id too long": size(10, 0, 3, 0, 1, 0, 0, 0, 1, 0x7f, 0xff),
		"cut off":            shorter,
		"two billion topics": tooMany,
		"HTTP":               []byte("GET / HTTP/1.1\r\nHost: broker\r\n\r\n"),
		"TLS":                append([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, make([]byte, 512)...),
	} {
		t.Run(name, func(t *testing.T) {
			c := v.dial()
			defer c.Close()
			me := c.LocalAddr().String()
			if _, err := c.Write(append(append(metadata(), metadata()...), bad...)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := receive(c); err != nil {
					t.Fatalf("a request before it: %v", err)
				}
			}
			expectClosed(t, c)
			v.waitLines(1, me)
			v.waitLines(1, me, "reason=")
		})
	}
	v.expectGrowth(oneFrame)
}

// Connections that stop in the middle do not count, whichever way they stop.
func TestHalfRequests(t *testing.T) {
	v := start(t)
	v.while("half requests")
	v.expectGrowth(oneFrame)
}

func halfRequests(v *target) func() {
	whole := metadata()
	return func() {
		for n := range len(whole) { // sends a part, and no more
			c := v.dial().(*net.TCPConn)
			c.Write(whole[:n])
			c.CloseWrite()
			expectClosed(v.t, c)
			c.Close()
		}
		// A half-closed one is still answered.
		c := v.dial().(*net.TCPConn)
		defer c.Close()
		c.Write(whole)
		c.CloseWrite()
		if _, err := receive(c); err != nil {
			v.t.Errorf("half-closed: %v", err)
		}
		// So is one that sends byte by byte.
		slow := v.dial()
		defer slow.Close()
		for i := range whole {
			slow.Write(whole[i : i+1])
			time.Sleep(time.Millisecond)
		}
		if _, err := receive(slow); err != nil {
			v.t.Errorf("byte by byte: %v", err)
		}
	}
}

// Random bytes, as frames and as bodies of every request. TORTURE_SEED repeats a run.
func TestRandomBytes(t *testing.T) {
	v := start(t)
	v.while("random bytes")
	v.expectGrowth(oneFrame)
	if v.lines("panic") > 0 {
		t.Error(v.Tail(60))
	}
}

func randomBytes(v *target) func() {
	seed := rand.Uint64()
	if s := os.Getenv("TORTURE_SEED"); s != "" {
		fmt.Sscan(s, &seed)
	}
	v.t.Logf("TORTURE_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			if b[i] = byte(r.Uint32()); r.IntN(3) > 0 {
				b[i] &= 3 // small counts and lengths, which lead farther
			}
		}
		return b
	}
	rounds := 1000
	if thorough {
		rounds = 100_000
	}
	return func() {
		for i := range rounds {
			c := v.dial()
			body := noise(r.IntN(300))
			head := []byte{0, byte(r.IntN(70)), 0, byte(r.IntN(14)), 0, 0, 0, 1, 0xff, 0xff}
			if head[1] == 1 || head[1] >= 4 && head[1] <= 6 { // may wait, or is a broker's
				head = nil
			}
			if i%10 == 0 {
				c.Write(body)
			} else {
				all := append(head, body...)
				c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(all))), all...))
			}
			c.(*net.TCPConn).CloseWrite()
			expectClosed(v.t, c)
			c.Close()
		}
	}
}

// Names that are none are refused by each request that takes names, and never reach
// the file system.
func TestInvalidNames(t *testing.T) {
	v := start(t)
	dir := v.Options.Dirs[0]
	before := tree(t, dir+"/..")
	c := v.dial()
	defer c.Close()
	const invalidTopic = 17
	for _, name := range []string{"", ".", "..", "../up", "a/b", "/etc/passwd", "a\x00b", "a\nb", "\xff\xfe", "a b", "ä", strings.Repeat("x", 250), strings.Repeat("../", 80)} {
		create := kmsg.NewPtrCreateTopicsRequest()
		create.TimeoutMillis = 5000
		create.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: name, NumPartitions: 1, ReplicationFactor: 1}}
		if code := v.request(c, create, 7).(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode; code != invalidTopic {
			t.Errorf("CreateTopics of %q: error code %d", name, code)
		}
		ask := kmsg.NewPtrMetadataRequest()
		ask.AllowAutoTopicCreation = true
		ask.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
		if code := v.request(c, ask, 12).(*kmsg.MetadataResponse).Topics[0].ErrorCode; code != invalidTopic {
			t.Errorf("Metadata of %q: error code %d", name, code)
		}
		if code := v.produce(c, name, batch(0, []byte("x"))); code == 0 {
			t.Errorf("Produce to %q", name)
		}
		more := kmsg.NewPtrCreatePartitionsRequest()
		more.TimeoutMillis = 5000
		more.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: name, Count: 3}}
		if code := v.request(c, more, 3).(*kmsg.CreatePartitionsResponse).Topics[0].ErrorCode; code == 0 {
			t.Errorf("CreatePartitions of %q: error code %d", name, code)
		}
		remove := kmsg.NewPtrDeleteTopicsRequest()
		remove.TimeoutMillis = 5000
		remove.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}
		if code := v.request(c, remove, 6).(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode; code == 0 || code == -1 {
			t.Errorf("DeleteTopics of %q: error code %d", name, code)
		}
		change := kmsg.NewPtrIncrementalAlterConfigsRequest()
		value := "1"
		change.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: 2, ResourceName: name,
			Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: &value}}}}
		if code := v.request(c, change, 1).(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode; code == 0 || code == -1 {
			t.Errorf("IncrementalAlterConfigs of %q: error code %d", name, code)
		}
		describe := kmsg.NewPtrDescribeConfigsRequest()
		describe.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: 2, ResourceName: name}}
		if code := v.request(c, describe, 4).(*kmsg.DescribeConfigsResponse).Resources[0].ErrorCode; code != invalidTopic {
			t.Errorf("DescribeConfigs of %q: error code %d", name, code)
		}
		// Client ids and transactional ids are no names of anything, and may be anything.
		init := kmsg.NewPtrInitProducerIDRequest()
		init.SetVersion(4)
		init.TransactionalID = &name
		other := v.dial()
		if _, err := other.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID(name)).AppendRequest(nil, init, 1)); err != nil {
			t.Error(err)
		}
		if _, err := receive(other); err != nil && !isClosed(err) {
			t.Errorf("InitProducerId of %q: %v", name, err)
		}
		other.Close()
	}
	if after := tree(t, dir+"/.."); after != before {
		t.Errorf("the directories were\n%s\nand are\n%s", before, after)
	}
	if v.lines("level=ERROR") > 0 {
		t.Error(v.Tail(20))
	}
}

// tree lists a directory and the topics' directories in it.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var out bytes.Buffer
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		fmt.Fprintln(&out, e.Name())
		if e.Name() == "data" {
			inside, err := os.ReadDir(dir + "/data")
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range inside {
				if f.IsDir() {
					fmt.Fprintln(&out, "data/"+f.Name())
				}
			}
		}
	}
	return out.String()
}
