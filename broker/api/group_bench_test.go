package api

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/internal/race"
	"github.com/gracchus-mq/gracchus/protocol"
)

// groupPaths are the requests that groups send all the time, and how many allocations
// each may have from the connection to the reply. They must not grow with the partitions;
// a group keeps no room for a large commit.
var groupPaths = []struct {
	name   string
	allocs float64
	req    func(group string, j *kmsg.JoinGroupResponse) (kmsg.Request, int16)
}{
	{"Heartbeat", 5, func(group string, j *kmsg.JoinGroupResponse) (kmsg.Request, int16) {
		return beating(group, j.MemberID, j.Generation), 4
	}},
	{"OffsetCommit/1", 20, func(group string, j *kmsg.JoinGroupResponse) (kmsg.Request, int16) {
		return memberCommits(group, j, 1), 8
	}},
	{"OffsetCommit/100", 23, func(group string, j *kmsg.JoinGroupResponse) (kmsg.Request, int16) {
		return memberCommits(group, j, 100), 8
	}},
}

func memberCommits(group string, j *kmsg.JoinGroupResponse, partitions int) kmsg.Request {
	var offsets []string
	for i := range partitions {
		offsets = append(offsets, fmt.Sprintf("t/%d=%d", i, 1000+i))
	}
	req := committing(group, offsets...)
	req.MemberID, req.Generation = j.MemberID, j.Generation
	return req
}

// groupRoundTrip sends a member's request again and again; its log is on disk.
func groupRoundTrip(tb testing.TB, make func(string, *kmsg.JoinGroupResponse) (kmsg.Request, int16)) func() {
	w := newGroupWorld(tb, "log.dirs="+tb.TempDir())
	w.lead("t", 100, 0)
	req, version := make("g", w.stable("g"))
	w.send(w.conn, req, version)
	switch r := w.receive(w.conn, req).(type) {
	case *kmsg.HeartbeatResponse:
		w.expect("heartbeat", r.ErrorCode, nil)
	case *kmsg.OffsetCommitResponse:
		w.expect("commit", r.Topics[0].Partitions[0].ErrorCode, nil)
	}
	w.conn.SetReadDeadline(time.Time{})
	frame := protocol.EncodeRequest(nil, 1, "client", req)
	reply := [1 << 16]byte{}
	return func() {
		if _, err := w.conn.Write(frame); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.ReadFull(w.conn, reply[:4]); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.ReadFull(w.conn, reply[:binary.BigEndian.Uint32(reply[:])]); err != nil {
			tb.Fatal(err)
		}
	}
}

func BenchmarkGroups(b *testing.B) {
	for _, p := range groupPaths {
		b.Run(p.name, func(b *testing.B) {
			run := groupRoundTrip(b, p.req)
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}

func TestGroupAllocations(t *testing.T) {
	race.Skip(t, "the race detector allocates")
	for _, p := range groupPaths {
		run := groupRoundTrip(t, p.req)
		run()
		if n := testing.AllocsPerRun(100, run); n > p.allocs {
			t.Errorf("%s: %.0f allocations, at most %.0f are allowed", p.name, n, p.allocs)
		}
	}
}
