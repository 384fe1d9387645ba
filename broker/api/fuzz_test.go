package api

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/internal/traffic"
	"github.com/gracchus-mq/gracchus/protocol"
)

// FuzzRequest sends bodies of any kind to every key and version. Each is either
// answered or ends its connection; none makes a handler panic, and afterwards the
// broker still answers.
func FuzzRequest(f *testing.F) {
	w := newGroupWorld(f)
	w.lead("t", 1, 0)
	for _, r := range w.routes {
		for version := r.Min; version <= r.Max; version++ {
			req := kmsg.RequestForKey(int16(r.Key))
			req.SetVersion(version)
			fillRequest(req)
			f.Add(int16(r.Key), version, req.AppendTo(nil))
		}
	}
	for _, frame := range traffic.Kafka(f) {
		if frame.Reply {
			continue
		}
		_, body, err := protocol.ParseRequestHeader(frame.Bytes)
		if err != nil {
			f.Fatalf("%s: %v", frame.Origin, err)
		}
		f.Add(frame.Key, frame.Version, body)
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		route := -1
		for i, r := range w.routes {
			if int16(r.Key) == key && version >= r.Min && version <= r.Max {
				route = i
			}
		}
		if route < 0 || protocol.APIKey(key) == protocol.StopReplica || waits(key, version, body) {
			return
		}
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		frame := binary.BigEndian.AppendUint16(make([]byte, 4), uint16(key))
		frame = binary.BigEndian.AppendUint16(frame, uint16(version))
		frame = append(frame, 0, 0, 0, 1, 0xff, 0xff)
		if req.IsFlexible() {
			frame = append(frame, 0)
		}
		frame = append(frame, body...)
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
		c, err := w.brokers.Dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		go c.Write(frame)
		c.SetReadDeadline(time.Now().Add(testWait))
		if _, err = protocol.ReadFrame(c, 100<<20, nil); errors.Is(err, os.ErrDeadlineExceeded) || err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if strings.Contains(w.logs.String(), "panic") {
			t.Fatal(w.logs.String())
		}
	})
}

// waits reports whether the request, rightly, is not answered at once: a fetch
// that waits, a produce without acknowledgement, a new member of a group.
func waits(key, version int16, body []byte) bool {
	switch protocol.APIKey(key) {
	case protocol.Fetch:
		var q fetchRequest
		return q.decode(version, body) == nil && q.maxWaitMS > 100
	case protocol.Produce:
		var p produceRequest
		return p.decode(version, body) == nil && p.acks == 0
	case protocol.JoinGroup:
		req, err := protocol.DecodeRequest(protocol.RequestHeader{Key: protocol.JoinGroup, Version: version}, body)
		if err != nil {
			return false
		}
		join := req.(*kmsg.JoinGroupRequest)
		return join.MemberID == "" && (version < 4 || join.InstanceID != nil)
	}
	return false
}
