package hostile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A flood from one address, where addresses have a limit: the others do not notice, and
// can still connect.
func TestFloodFromOneAddress(t *testing.T) {
	v := start(t, fmt.Sprintf("max.connections.per.ip=%d", addressLimit))
	v.while("flood from one address")
	v.expectGrowth(oneFrame)
	if n := v.lines("too many connections from this address"); n == 0 || n > 200 {
		t.Errorf("%d lines about thousands of connections", n)
	}
}

const addressLimit = 50

func floodFromOneAddress(v *target) func() {
	return func() {
		var open []net.Conn
		for range 5000 {
			c := v.dialFrom(0)
			c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if _, err := ask(c, metadata()); err != nil {
				c.Close()
				continue
			}
			open = append(open, c)
		}
		if len(open) != addressLimit {
			v.t.Errorf("%d connections from one address are served, want %d", len(open), addressLimit)
		}
		c := v.dial() // from another
		defer c.Close()
		if _, err := ask(c, metadata()); err != nil {
			v.t.Errorf("from another address: %v", err)
		}
	}
}

// As many connections as there may be, and many more that wait for them: those who are
// there do not notice, and when some go, others get their turn.
func TestFloodOfConnections(t *testing.T) {
	v := start(t, fmt.Sprintf("max.connections=%d", allConnections))
	end := v.while("flood of connections")
	v.expectGrowth(oneFrame)
	late := v.dial() // waits in the kernel's queue
	late.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := ask(late, metadata()); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("one connection more than there may be: %v", err)
	}
	end()
	late.SetReadDeadline(time.Now().Add(patience))
	if _, err := receive(late); err != nil {
		t.Errorf("once the others are gone: %v", err)
	}
}

const allConnections = 200

func floodOfConnections(v *target) func() {
	return func() {
		var served, waiting []net.Conn
		for i := range 2 * allConnections {
			c := v.dialFrom(i)
			c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			if _, err := ask(c, metadata()); err == nil {
				served = append(served, c)
				continue
			}
			waiting = append(waiting, c)
		}
		if n := len(served); n == 0 || n >= allConnections {
			v.t.Errorf("%d are served", n)
		}
		for range 3 { // who waits may send, too
			for _, c := range waiting {
				c.Write(metadata())
			}
			time.Sleep(200 * time.Millisecond) // it is about what happens meanwhile
		}
		runtime.KeepAlive(served)
	}
}

// Clients that fetch much from many files and never read: each of their replies keeps
// files open, which are scarce.
func TestUnreadFetches(t *testing.T) {
	v := start(t, fmt.Sprintf("gracchus.log.max.open.files=%d", cachedFiles))
	v.makeSegments()
	v.while("unread fetches")
	v.expectGrowth(manyClients)
	v.expectStop()
}

const (
	segments    = 40 // of each partition, of a batch each
	partitions  = 60
	batchSize   = 60_000 // as much as is read into a reply, up to a MiB; the rest is sent from files
	cachedFiles = 300
	// openFiles is how many files may be open: those, what is held for replies on their
	// way, which counts 64 KiB each, of 64 MiB, and some. Without a bound it would be all
	// that are asked for, 1,720 more.
	openFiles = cachedFiles + 1024 + 100
)

// makeSegments fills a topic "segments".
func (v *victim) makeSegments() {
	v.t.Helper()
	c := v.dial()
	defer c.Close()
	v.createPartitioned("segments", partitions, fmt.Sprintf("segment.bytes=%d", batchSize+1000), "retention.ms=-1")
	req := produceTo("segments", batch(0, make([]byte, batchSize)))
	one := req.Topics[0].Partitions[0]
	req.Topics[0].Partitions = nil
	for p := range int32(partitions) {
		one.Partition = p
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, one)
	}
	for range segments {
		for _, p := range v.request(c, req, 9).(*kmsg.ProduceResponse).Topics[0].Partitions {
			if p.ErrorCode != 0 {
				v.t.Fatalf("produce: error code %d", p.ErrorCode)
			}
		}
	}
}

func unreadFetches(v *target) func() {
	question := func(offset int64) []byte {
		req := kmsg.NewPtrFetchRequest()
		req.SetVersion(11)
		req.MinBytes, req.MaxBytes, req.SessionEpoch = 1, 1<<30, -1
		topic := kmsg.FetchRequestTopic{Topic: "segments"}
		for p := range int32(partitions) {
			part := kmsg.NewFetchRequestTopicPartition()
			part.Partition, part.FetchOffset, part.PartitionMaxBytes = p, offset, 1<<20
			topic.Partitions = append(topic.Partitions, part)
		}
		req.Topics = []kmsg.FetchRequestTopic{topic}
		return frame(req)
	}
	conns := make([]net.Conn, 500)
	most, before := 0, v.openFiles()
	return func() {
		for i := range conns {
			conns[i] = v.dial()
			conns[i].(*net.TCPConn).SetReadBuffer(4 << 10)
			conns[i].Write(bytes.Repeat(question(int64(i%segments)), 3)) // more than the sockets hold
			most = max(most, v.openFiles())
		}
		for range 50 {
			time.Sleep(100 * time.Millisecond) // it is about what happens meanwhile
			most = max(most, v.openFiles())
		}
		v.t.Logf("%d files were open at first, %d at most", before, most)
		if most > openFiles {
			v.t.Errorf("%d files were open, more than %d", most, openFiles)
		}
	}
}

// openFiles counts what the broker has open beside sockets.
func (v *target) openFiles() (n int) {
	v.t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", v.pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, e := range entries {
		switch to, err := os.Readlink(dir + "/" + e.Name()); {
		case errors.Is(err, fs.ErrNotExist): // closed meanwhile
		case err != nil:
			v.t.Fatal(err)
		case !strings.HasPrefix(to, "socket:"):
			n++
		}
	}
	return n
}
