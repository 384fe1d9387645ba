package zkserver_test

import (
	"bytes"
	"io"
	"path"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gracchus-mq/gracchus/internal/traffic"
	"github.com/gracchus-mq/gracchus/zkmeta/zkproto"
	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

// FuzzConnection sends a server what is on one connection, from the first byte to the
// last. Whatever it is, what comes back are whole frames, and others are served.
func FuzzConnection(f *testing.F) {
	connect := zkproto.AppendFrame(nil, &zkproto.ConnectRequest{TimeoutMS: 10_000, Password: make([]byte, 16)})
	f.Add(connect)
	f.Add([]byte("ruok"))
	f.Add(append(slices.Clone(connect), traffic.Sized([]byte{0, 0, 0, 1, 0, 0, 0, 99})...))
	var requests, reads []byte
	parents := []string{"/"}
	for _, frame := range traffic.ZooKeeper(f) {
		switch {
		case frame.Reply:
			continue
		case frame.Op == -1:
			connect = traffic.Sized(frame.Bytes)
			continue
		}
		wire := traffic.Sized(frame.Bytes)
		f.Add(append(slices.Clone(connect), wire...))
		h, body, err := zkproto.ParseRequest(frame.Bytes)
		if err != nil {
			f.Fatalf("%s: %v", frame.Origin, err)
		}
		if frame.Op == int32(zkproto.OpCloseSession) {
			continue
		}
		var read zkproto.PathWatchRequest
		if h.Op != zkproto.OpMulti && zkproto.Unmarshal(body, &read) == nil {
			reads = append(reads, wire...)
			for p := path.Dir(read.Path); len(p) > 1; p = path.Dir(p) {
				parents = append(parents, p)
			}
			continue
		}
		requests = append(requests, wire...)
	}
	// All of them on one connection, on nodes that are there.
	slices.Sort(parents)
	all := slices.Clone(connect)
	for _, p := range slices.Compact(parents)[1:] {
		all = zkproto.AppendRequest(all, zkproto.RequestHeader{XID: 1, Op: zkproto.OpCreate}, createRequest(p, nil, zkproto.ModePersistent))
	}
	f.Add(slices.Concat(all, requests, reads, requests))
	f.Fuzz(func(t *testing.T, stream []byte) {
		synctest.Test(t, func(t *testing.T) {
			_, dial := startPipe(t, zkserver.Config{}, zkserver.NewMemStore())
			witness := connected(t, dial(), 40*time.Second)
			c := dial()
			go c.nc.Write(stream) //nolint:errcheck // the server may hang up
			if isWord(stream) {
				go io.Copy(io.Discard, c.nc) //nolint:errcheck // text, until the server hangs up
			} else {
				go readReplies(t, c)
			}
			synctest.Wait()
			c.nc.Close()
			synctest.Wait()
			witness.mustDo(t, zkproto.OpPing, nil)
		})
	})
}

func isWord(stream []byte) bool {
	return len(stream) >= 4 && !bytes.ContainsFunc(stream[:4], func(r rune) bool { return r < 'a' || r > 'z' })
}

// readReplies reads until the connection ends. The first reply has no header.
func readReplies(t *testing.T, c *rawClient) {
	for n := 0; ; n++ {
		frame, err := zkproto.ReadFrame(c.in, 64<<20, nil)
		if err != nil {
			return
		}
		if n == 0 {
			err = zkproto.Unmarshal(frame, &c.session)
		} else {
			_, _, err = zkproto.ParseReply(frame)
		}
		if err != nil {
			t.Errorf("reply %d is %x: %v", n, frame, err)
		}
	}
}
