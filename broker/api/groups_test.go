package api

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/broker/server"
	"github.com/gracchus-mq/gracchus/internal/inproc"
	"github.com/gracchus-mq/gracchus/protocol"
)

// coordinate has the broker lead __consumer_offsets, and waits until its groups are
// loaded. One that is not in sync alone waits for others with what it appends.
func (w *world) coordinate(epoch int32, isr ...int32) {
	w.t.Helper()
	w.lead(protocol.ConsumerOffsetsTopic, w.settings.Broker().Offsets.Partitions, epoch, isr...)
	for call[*kmsg.ListGroupsResponse](w, 0, kmsg.NewPtrListGroupsRequest()).ErrorCode == kerr.CoordinatorLoadInProgress.Code {
	}
}

// newGroupWorld is newWorld with a coordinator, whose groups wait for nobody else to come.
func newGroupWorld(t testing.TB, properties ...string) *world {
	t.Helper()
	w := newWorld(t, append([]string{"offsets.topic.num.partitions=2", "group.initial.rebalance.delay.ms=0"}, properties...)...)
	w.coordinate(0)
	return w
}

func joining(group, member string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = group, member, 15_000, 20_000
	req.ProtocolType = "consumer"
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("about me")}}
	return req
}

// joined has a new member join, in two steps where a version wants them.
func (w *world) joined(version int16, group string) *kmsg.JoinGroupResponse {
	w.t.Helper()
	req := joining(group, "")
	resp := call[*kmsg.JoinGroupResponse](w, version, req)
	if version >= 4 {
		if resp.ErrorCode != kerr.MemberIDRequired.Code || resp.MemberID == "" || resp.Generation != -1 {
			w.t.Fatalf("first step: %+v", resp)
		}
		req.MemberID = resp.MemberID
		resp = call[*kmsg.JoinGroupResponse](w, version, req)
	}
	if resp.ErrorCode != 0 {
		w.t.Fatalf("JoinGroup version %d: %d", version, resp.ErrorCode)
	}
	return resp
}

// synced has the leader assign something to itself and, if there are any, to others.
func syncing(group string, j *kmsg.JoinGroupResponse, members ...string) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation = group, j.MemberID, j.Generation
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	for _, m := range members {
		req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: m, MemberAssignment: []byte("for " + m)})
	}
	return req
}

// stable makes a group with one member, which has synced.
func (w *world) stable(group string) *kmsg.JoinGroupResponse {
	w.t.Helper()
	j := w.joined(5, group)
	if s := call[*kmsg.SyncGroupResponse](w, 3, syncing(group, j, j.MemberID)); s.ErrorCode != 0 {
		w.t.Fatalf("sync: %d", s.ErrorCode)
	}
	return j
}

func beating(group, member string, generation int32) *kmsg.HeartbeatRequest {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = group, member, generation
	return req
}

func leaving(group string, version int16, members ...string) *kmsg.LeaveGroupRequest {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = group
	if version < 3 {
		req.MemberID = members[0]
	}
	for _, m := range members {
		req.Members = append(req.Members, kmsg.LeaveGroupRequestMember{MemberID: m})
	}
	return req
}

// A member's life, in every version of every request.
func TestOneMember(t *testing.T) {
	w := newGroupWorld(t)
	for v := range int16(10) {
		group := fmt.Sprint("group-", v)
		j := w.joined(v, group)
		if j.Generation != 1 || j.MemberID == "" || j.LeaderID != j.MemberID || j.Protocol == nil || *j.Protocol != "range" || j.SkipAssignment || len(j.Members) != 1 {
			t.Fatalf("v%d: %+v", v, j)
		}
		if m := j.Members[0]; m.MemberID != j.MemberID || string(m.ProtocolMetadata) != "about me" || m.InstanceID != nil {
			t.Errorf("v%d: leads %+v", v, m)
		}
		if named := j.ProtocolType != nil; named != (v >= 7) || named && *j.ProtocolType != "consumer" {
			t.Errorf("v%d: protocol type %v", v, j.ProtocolType)
		}
		s := call[*kmsg.SyncGroupResponse](w, min(v, 5), syncing(group, j, j.MemberID, "nobody"))
		if s.ErrorCode != 0 || string(s.MemberAssignment) != "for "+j.MemberID {
			t.Errorf("v%d: %+v", v, s)
		}
		if named := s.ProtocolType != nil && s.Protocol != nil; named != (v >= 5) || named && *s.ProtocolType+*s.Protocol != "consumerrange" {
			t.Errorf("v%d: %+v", v, s)
		}
		for _, c := range []struct {
			req  *kmsg.HeartbeatRequest
			want error
		}{
			{beating(group, j.MemberID, 1), nil},
			{beating(group, j.MemberID, 0), kerr.IllegalGeneration},
			{beating(group, j.MemberID, 2), kerr.IllegalGeneration},
			{beating(group, "somebody", 1), kerr.UnknownMemberID},
			{beating("no-"+group, j.MemberID, 1), kerr.UnknownMemberID},
			{beating("", j.MemberID, 1), kerr.InvalidGroupID},
		} {
			w.expect("heartbeat", call[*kmsg.HeartbeatResponse](w, min(v, 4), c.req).ErrorCode, c.want)
		}
		lv := min(v, 5)
		if l := call[*kmsg.LeaveGroupResponse](w, lv, leaving(group, lv, j.MemberID)); l.ErrorCode != 0 || lv >= 3 && (len(l.Members) != 1 || l.Members[0].ErrorCode != 0 || l.Members[0].MemberID != j.MemberID) {
			t.Errorf("v%d: %+v", v, l)
		}
		w.expect("heartbeat of who has left", call[*kmsg.HeartbeatResponse](w, min(v, 4), beating(group, j.MemberID, 1)).ErrorCode, kerr.UnknownMemberID)
	}
}

// expect fails unless a code is that of an error.
func (w *world) expect(what string, code int16, want error) {
	w.t.Helper()
	if got := kerr.ErrorForCode(code); got != want {
		w.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestJoinIsRefused(t *testing.T) {
	w := newGroupWorld(t)
	w.stable("g")
	for what, c := range map[string]struct {
		change func(*kmsg.JoinGroupRequest)
		want   error
	}{
		"no group id":          {func(r *kmsg.JoinGroupRequest) { r.Group = "" }, kerr.InvalidGroupID},
		"short session":        {func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 5999 }, kerr.InvalidSessionTimeout},
		"long session":         {func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 1_800_001 }, kerr.InvalidSessionTimeout},
		"negative session":     {func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = -1 }, kerr.InvalidSessionTimeout},
		"unknown member":       {func(r *kmsg.JoinGroupRequest) { r.MemberID = "x" }, kerr.UnknownMemberID},
		"unknown group":        {func(r *kmsg.JoinGroupRequest) { r.Group, r.MemberID = "h", "x" }, kerr.UnknownMemberID},
		"another type":         {func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "connect" }, kerr.InconsistentGroupProtocol},
		"other protocols":      {func(r *kmsg.JoinGroupRequest) { r.Protocols[0].Name = "sticky" }, kerr.InconsistentGroupProtocol},
		"no protocols, no one": {func(r *kmsg.JoinGroupRequest) { r.Group, r.Protocols = "i", nil }, kerr.InconsistentGroupProtocol},
	} {
		req := joining("g", "")
		c.change(req)
		for v := range int16(10) {
			resp := call[*kmsg.JoinGroupResponse](w, v, req)
			w.expect(fmt.Sprintf("%s, version %d", what, v), resp.ErrorCode, c.want)
			if resp.Generation != -1 || resp.LeaderID != "" || resp.MemberID != req.MemberID || len(resp.Members) != 0 || resp.ProtocolType != nil || (resp.Protocol == nil) != (v >= 7) {
				t.Errorf("%s: version %d: %+v", what, v, resp)
			}
		}
	}
}

// Version 0 has one time-out for both: who does not rejoin is out after its session's.
func TestRebalanceTimeoutOfVersion0(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGroupWorld(t)
		first := w.joined(0, "g")
		w.expect("sync", call[*kmsg.SyncGroupResponse](w, 0, syncing("g", first, first.MemberID)).ErrorCode, nil)
		c := w.dial(w.brokers)
		defer c.Close()
		begun := time.Now()
		second := joining("g", "")
		second.Protocols[0].Metadata = []byte("second")
		w.send(c, second, 0)
		for range 4 { // its session goes on, but it does not rejoin
			time.Sleep(2 * time.Second)
			w.expect("heartbeat", call[*kmsg.HeartbeatResponse](w, 0, beating("g", first.MemberID, 1)).ErrorCode, kerr.RebalanceInProgress)
		}
		j := w.receive(c, second).(*kmsg.JoinGroupResponse)
		if d := time.Since(begun); d != 15*time.Second || j.ErrorCode != 0 || j.Generation != 2 || len(j.Members) != 1 {
			t.Errorf("after %v: %+v", d, j)
		}
	})
}

// Two members wait for each other, each on a connection that is read no further
// meanwhile. The members of a generation that nobody has assigned wait for its leader.
func TestMembersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGroupWorld(t)
		a := w.stable("g")
		c := w.dial(w.brokers)
		defer c.Close()
		req := joining("g", "")
		req.InstanceID = kmsg.StringPtr("static")
		w.send(c, req, 9)
		behind := kmsg.NewPtrListGroupsRequest()
		sent := make(chan struct{})
		go func() {
			w.send(c, behind, 0)
			close(sent)
		}()
		synctest.Wait()
		select {
		case <-sent:
			t.Error("the connection is read while a join waits")
		default:
		}
		w.expect("heartbeat", call[*kmsg.HeartbeatResponse](w, 4, beating("g", a.MemberID, 1)).ErrorCode, kerr.RebalanceInProgress)
		a = call[*kmsg.JoinGroupResponse](w, 9, joining("g", a.MemberID))
		b := w.receive(c, req).(*kmsg.JoinGroupResponse)
		<-sent
		w.receive(c, behind)
		if a.ErrorCode != 0 || b.ErrorCode != 0 || a.Generation != 2 || b.Generation != 2 || a.LeaderID != a.MemberID || b.LeaderID != a.MemberID || len(a.Members) != 2 || len(b.Members) != 0 {
			t.Fatalf("joined: %+v\n%+v", a, b)
		}
		if i := slices.IndexFunc(a.Members, func(m kmsg.JoinGroupResponseMember) bool { return m.MemberID == b.MemberID }); i < 0 || a.Members[i].InstanceID == nil || *a.Members[i].InstanceID != "static" {
			t.Errorf("the leader has %+v", a.Members)
		}
		follower := syncing("g", b)
		follower.InstanceID = kmsg.StringPtr("static")
		w.send(c, follower, 5)
		synctest.Wait()
		if s := call[*kmsg.SyncGroupResponse](w, 5, syncing("g", a, b.MemberID)); s.ErrorCode != 0 || len(s.MemberAssignment) != 0 {
			t.Errorf("leader: %+v", s)
		}
		if s := w.receive(c, follower).(*kmsg.SyncGroupResponse); s.ErrorCode != 0 || string(s.MemberAssignment) != "for "+b.MemberID {
			t.Errorf("follower: %+v", s)
		}
		// Who comes with the same instance id takes the place, and is told that it leads
		// only if it did. The one before is fenced off.
		again := joining("g", "")
		again.InstanceID = req.InstanceID
		c2 := w.dial(w.brokers)
		defer c2.Close()
		w.send(c2, again, 9)
		j := w.receive(c2, again).(*kmsg.JoinGroupResponse)
		if j.ErrorCode != 0 || j.Generation != 2 || j.MemberID == b.MemberID || j.SkipAssignment {
			t.Errorf("came back: %+v", j)
		}
		beat := beating("g", b.MemberID, 2)
		beat.InstanceID = req.InstanceID
		w.expect("heartbeat of the one before", call[*kmsg.HeartbeatResponse](w, 4, beat).ErrorCode, kerr.FencedInstanceID)
		// An administrator removes it by its instance id; somebody else is unknown.
		leave := leaving("g", 5, "")
		leave.Members[0].InstanceID = req.InstanceID
		leave.Members = append(leave.Members, kmsg.LeaveGroupRequestMember{MemberID: "x"})
		l := call[*kmsg.LeaveGroupResponse](w, 5, leave)
		if l.ErrorCode != 0 || len(l.Members) != 2 || l.Members[0].ErrorCode != 0 || l.Members[1].ErrorCode != kerr.UnknownMemberID.Code || *l.Members[0].InstanceID != "static" {
			t.Errorf("leave: %+v", l)
		}
	})
}

// A static leader that comes back knows from version 9 on that it leads.
func TestStaticLeaderComesBack(t *testing.T) {
	w := newGroupWorld(t)
	req := joining("g", "")
	req.InstanceID = kmsg.StringPtr("i")
	for v := int16(5); v <= 9; v++ {
		req.Group = fmt.Sprint("g", v)
		first := call[*kmsg.JoinGroupResponse](w, v, req)
		sync := syncing(req.Group, first, first.MemberID)
		sync.InstanceID = req.InstanceID
		w.expect("sync", call[*kmsg.SyncGroupResponse](w, 5, sync).ErrorCode, nil)
		j := call[*kmsg.JoinGroupResponse](w, v, req)
		leads, told := j.LeaderID == j.MemberID, len(j.Members)
		if j.ErrorCode != 0 || j.SkipAssignment != (v >= 9) || leads != (v >= 9) || (told == 1) != (v >= 9) || !leads && j.LeaderID != first.MemberID {
			t.Errorf("v%d: %+v", v, j)
		}
	}
}

func TestSyncIsRefused(t *testing.T) {
	w := newGroupWorld(t)
	j := w.stable("g")
	other := "sticky"
	for what, c := range map[string]struct {
		change func(*kmsg.SyncGroupRequest)
		want   error
		since  int16
	}{
		"no group id":           {func(r *kmsg.SyncGroupRequest) { r.Group = "" }, kerr.InvalidGroupID, 0},
		"unknown group":         {func(r *kmsg.SyncGroupRequest) { r.Group = "h" }, kerr.UnknownMemberID, 0},
		"unknown member":        {func(r *kmsg.SyncGroupRequest) { r.MemberID = "x" }, kerr.UnknownMemberID, 0},
		"old generation":        {func(r *kmsg.SyncGroupRequest) { r.Generation = 0 }, kerr.IllegalGeneration, 0},
		"unknown instance":      {func(r *kmsg.SyncGroupRequest) { r.InstanceID = &other }, kerr.UnknownMemberID, 3},
		"another protocol":      {func(r *kmsg.SyncGroupRequest) { r.Protocol = &other }, kerr.InconsistentGroupProtocol, 5},
		"another type":          {func(r *kmsg.SyncGroupRequest) { r.ProtocolType = &other }, kerr.InconsistentGroupProtocol, 5},
		"no protocol":           {func(r *kmsg.SyncGroupRequest) { r.Protocol = nil }, kerr.InconsistentGroupProtocol, 5},
		"no type, and no group": {func(r *kmsg.SyncGroupRequest) { r.ProtocolType, r.Group = nil, "" }, kerr.InconsistentGroupProtocol, 5},
	} {
		for v := c.since; v <= 5; v++ {
			req := syncing("g", j)
			c.change(req)
			resp := call[*kmsg.SyncGroupResponse](w, v, req)
			w.expect(fmt.Sprintf("%s, version %d", what, v), resp.ErrorCode, c.want)
			if len(resp.MemberAssignment) != 0 || resp.Protocol != nil || resp.ProtocolType != nil {
				t.Errorf("%s: %+v", what, resp)
			}
		}
	}
}

func TestLeaveIsRefused(t *testing.T) {
	w := newGroupWorld(t)
	for v := range int16(6) {
		resp := call[*kmsg.LeaveGroupResponse](w, v, leaving("", v, "x"))
		w.expect("no group id", resp.ErrorCode, kerr.InvalidGroupID)
		if len(resp.Members) != 0 {
			t.Errorf("v%d: %+v", v, resp)
		}
		resp = call[*kmsg.LeaveGroupResponse](w, v, leaving("g", v, "x", "y"))
		if v < 3 {
			w.expect("no such group", resp.ErrorCode, kerr.UnknownMemberID)
		} else if resp.ErrorCode != 0 || len(resp.Members) != 2 || resp.Members[1].ErrorCode != kerr.UnknownMemberID.Code {
			t.Errorf("v%d: %+v", v, resp)
		}
	}
}

// One that is not the coordinator says so, and one that is loading does what Kafka does.
func TestNotTheCoordinator(t *testing.T) {
	w := newWorld(t)
	want := func(what string, code int16) {
		t.Helper()
		w.expect(what, code, kerr.NotCoordinator)
	}
	want("join", call[*kmsg.JoinGroupResponse](w, 9, joining("g", "")).ErrorCode)
	want("sync", call[*kmsg.SyncGroupResponse](w, 5, syncing("g", &kmsg.JoinGroupResponse{MemberID: "x"})).ErrorCode)
	want("heartbeat", call[*kmsg.HeartbeatResponse](w, 4, beating("g", "x", 1)).ErrorCode)
	want("leave", call[*kmsg.LeaveGroupResponse](w, 5, leaving("g", 5, "x")).ErrorCode)
	want("delete", call[*kmsg.DeleteGroupsResponse](w, 2, &kmsg.DeleteGroupsRequest{Groups: []string{"g"}}).Groups[0].ErrorCode)
	d := call[*kmsg.DescribeGroupsResponse](w, 5, &kmsg.DescribeGroupsRequest{Groups: []string{"g"}}).Groups[0]
	want("describe", d.ErrorCode)
	if d.State != "" {
		t.Errorf("%+v", d)
	}
	del := kmsg.NewPtrOffsetDeleteRequest()
	del.Group = "g"
	want("delete offsets", call[*kmsg.OffsetDeleteResponse](w, 0, del).ErrorCode)
}

// waiting begins requests that wait, each on a connection of its own: a join for a member that does not rejoin, in group
// g, and a sync for a leader that does not assign, in group h.
func (w *world) waiting(l *inproc.Listener) (join, sync net.Conn, joinReq *kmsg.JoinGroupRequest, syncReq *kmsg.SyncGroupRequest) {
	w.t.Helper()
	w.stable("g")
	join = w.dial(l)
	joinReq = joining("g", "")
	w.send(join, joinReq, 3)
	lead := w.joined(5, "h")
	sync = w.dial(l)
	req := joining("h", "")
	w.send(sync, req, 3)
	synctest.Wait()
	w.send(w.conn, joining("h", lead.MemberID), 3)
	j := w.receive(sync, req).(*kmsg.JoinGroupResponse)
	w.receive(w.conn, req)
	syncReq = syncing("h", j)
	w.send(sync, syncReq, 3)
	synctest.Wait()
	return join, sync, joinReq, syncReq
}

func TestBrokerStopsWhileMembersWait(t *testing.T) {
	for _, how := range []string{"drained", "resigned", "coordinator stopped"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newGroupWorld(t)
				join, sync, joinReq, syncReq := w.waiting(w.brokers)
				defer join.Close()
				defer sync.Close()
				begun := time.Now()
				switch how {
				case "drained":
					go w.server.Drain(context.Background())
				case "resigned":
					w.assign(protocol.ConsumerOffsetsTopic, 2, 2, 1, []int32{1, 2})
				default:
					w.groups.Stop(context.Background())
				}
				j, s := w.receive(join, joinReq).(*kmsg.JoinGroupResponse), w.receive(sync, syncReq).(*kmsg.SyncGroupResponse)
				if d := time.Since(begun); d != 0 {
					t.Errorf("answered after %v", d)
				}
				w.expect("join", j.ErrorCode, kerr.NotCoordinator)
				w.expect("sync", s.ErrorCode, kerr.NotCoordinator)
				if how == "drained" {
					w.expectClosed(join)
				}
			})
		})
	}
}

// A connection that ends while its request waits leaves nothing behind: the others'
// rebalance goes on without a word to it.
func TestConnectionEndsWhileMembersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newGroupWorld(t)
		join, sync, _, _ := w.waiting(w.brokers)
		join.Close()
		sync.Close()
		time.Sleep(time.Minute) // every session and every rebalance has ended
		w.stable("g")
		if strings.Contains(w.logs.String(), "panic") {
			t.Error(w.logs.String())
		}
	})
}

// One that the broker closes, here for being idle, does not wait for the reply.
func TestWaitingConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := server.Config{MaxIdle: 5 * time.Second, Limits: server.Limits{MaxConnections: 3}}
		w := newWorldWithin(t, limits, "offsets.topic.num.partitions=2", "group.initial.rebalance.delay.ms=0")
		w.coordinate(0)
		join, sync, _, _ := w.waiting(w.clients)
		defer join.Close()
		defer sync.Close()
		for range 3 {
			time.Sleep(4 * time.Second) // not idle
			call[*kmsg.ListGroupsResponse](w, 0, kmsg.NewPtrListGroupsRequest())
		}
		w.expectClosed(join)
		w.expectClosed(sync)
		begun := time.Now()
		w.dial(w.clients).Close() // there is room for it
		if d := time.Since(begun); d != 0 {
			t.Errorf("the connections have ended after %v", d)
		}
	})
}

// A join that waits keeps neither its frame nor what it has reserved to be decoded:
// members with much to say would keep all others from joining.
func TestWaitingJoinsReserveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWithin(t, server.Config{WorkBytes: 1 << 20, InFlightBytes: 128 << 10}, "offsets.topic.num.partitions=2", "group.initial.rebalance.delay.ms=5000")
		w.coordinate(0)
		begun := time.Now()
		var conns []net.Conn
		req := joining("g", "")
		req.Protocols[0].Metadata = bytes.Repeat([]byte{'x'}, 100<<10) // more than all of it
		for range 5 {
			c := w.dial(w.brokers)
			defer c.Close()
			go w.send(c, req, 3)
			synctest.Wait()
			conns = append(conns, c)
		}
		for _, c := range conns {
			j := w.receive(c, req).(*kmsg.JoinGroupResponse)
			w.expect("join", j.ErrorCode, nil)
		}
		if d := time.Since(begun); d != 10*time.Second { // the delay, and once more for those who came meanwhile
			t.Errorf("after %v", d)
		}
	})
}

func TestJavaAddress(t *testing.T) {
	for host, want := range map[string]string{
		"127.0.0.1": "/127.0.0.1", "::1": "/0:0:0:0:0:0:0:1", "2001:db8::a:0:ff": "/2001:db8:0:0:0:a:0:ff",
		"fe80::1%eth0": "/fe80:0:0:0:0:0:0:1%eth0", "::ffff:10.0.0.1": "/10.0.0.1", "pipe": "/pipe",
	} {
		if got := javaAddress(host); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}
