package group

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/internal/memlog"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/replica"
	"github.com/gracchus-mq/gracchus/statelog"
)

// What every request is asked first.
func TestWhoCoordinates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New()
		log.Reads = make(chan struct{})
		l := newLab(t, log)
		all := func(want, heartbeat, sync error) {
			t.Helper()
			g := groupIn(1)
			is(t, "join", (<-l.join(JoinRequest{Group: g})).Err, want)
			is(t, "sync", (<-l.sync(SyncRequest{Group: g})).Err, sync)
			is(t, "heartbeat", l.c.Heartbeat(&HeartbeatRequest{Group: g}), heartbeat)
			is(t, "leave", l.c.Leave(g, nil), want)
			c := commitOf(g, 1)
			<-l.commit(c)
			is(t, "commit", c.Offsets[0].Err, want)
			_, err := l.c.FetchOffsets(nil, g, []protocol.TopicPartition{{Topic: "t"}})
			is(t, "fetch", err, want)
			_, err = l.c.FetchAllOffsets(nil, g)
			is(t, "fetch all", err, want)
			_, err = l.c.Describe(g)
			is(t, "describe", err, want)
			is(t, "delete", l.c.DeleteGroup(g), want)
			is(t, "delete offsets", l.c.DeleteOffsets(g, nil), want)
		}
		l.leads(0, 5)
		all(kerr.NotCoordinator, kerr.NotCoordinator, kerr.NotCoordinator)
		l.leads(1, 5)
		all(kerr.CoordinatorLoadInProgress, nil, kerr.RebalanceInProgress)
		_, err := l.c.List()
		is(t, "list", err, kerr.CoordinatorLoadInProgress)

		// Without a group's id; a coordinator of offsets takes it.
		is(t, "join", (<-l.join(JoinRequest{})).Err, kerr.InvalidGroupID)
		is(t, "sync", (<-l.sync(SyncRequest{})).Err, kerr.InvalidGroupID)
		is(t, "heartbeat", l.c.Heartbeat(&HeartbeatRequest{}), kerr.InvalidGroupID)
		is(t, "leave", l.c.Leave("", nil), kerr.InvalidGroupID)
		is(t, "delete offsets", l.c.DeleteOffsets("", nil), kerr.InvalidGroupID)

		close(log.Reads)
		synctest.Wait()
		c := commitOf("", 1)
		<-l.commit(c)
		is(t, "commit to the group without a name", c.Offsets[0].Err, nil)
		_, err = l.c.List()
		is(t, "list", err, nil)

		// Groups that do not exist.
		g := groupIn(1)
		is(t, "join", (<-l.join(JoinRequest{Group: g, MemberID: "m"})).Err, kerr.UnknownMemberID)
		is(t, "heartbeat", l.c.Heartbeat(&HeartbeatRequest{Group: g}), kerr.UnknownMemberID)
		leaving := []Leaving{{MemberID: "m"}}
		is(t, "leave", l.c.Leave(g, leaving), nil)
		is(t, "leaving member", leaving[0].Err, kerr.UnknownMemberID)
		c = commitOf(g, 1)
		c.Generation = 0
		<-l.commit(c)
		is(t, "commit", c.Offsets[0].Err, kerr.IllegalGeneration)
		is(t, "delete", l.c.DeleteGroup(g), kerr.GroupIDNotFound)
		is(t, "delete offsets", l.c.DeleteOffsets(g, nil), kerr.GroupIDNotFound)
		d, err := l.c.Describe(g)
		if d.State != Dead || err != nil {
			t.Errorf("described as %v, %v", d, err)
		}
		got, err := l.c.FetchOffsets(nil, g, []protocol.TopicPartition{{Topic: "t", Partition: 3}})
		if err != nil || len(got) != 1 || got[0].Offset != -1 || got[0].Partition != 3 || got[0].LeaderEpoch != -1 {
			t.Errorf("fetched %v, %v", got, err)
		}

		// Session timeouts, and what could not be stored.
		for _, timeout := range []time.Duration{0, 6*time.Second - 1, 30*time.Minute + 1} {
			result := make(chan JoinResult, 1)
			l.c.Join(&JoinRequest{Group: g, SessionTimeout: timeout}, func(r JoinResult) { result <- r })
			is(t, "join", (<-result).Err, kerr.InvalidSessionTimeout)
		}
		long := strings.Repeat("x", maxName+1)
		for _, r := range []JoinRequest{{Group: long}, {Group: g, ClientID: long}, {Group: g, InstanceID: &long}, {Group: g, Protocols: []Protocol{{Name: long}}}} {
			result := make(chan JoinResult, 1)
			l.c.Join(&r, func(r JoinResult) { result <- r })
			is(t, "join with a long name", (<-result).Err, kerr.InvalidRequest)
		}
		c = commitOf(long, 1)
		<-l.commit(c)
		is(t, "commit with a long name", c.Offsets[0].Err, kerr.InvalidRequest)

		l.follows(1, 6)
		all(kerr.NotCoordinator, kerr.NotCoordinator, kerr.NotCoordinator)
		l.stop()
		all(kerr.CoordinatorNotAvailable, kerr.CoordinatorNotAvailable, kerr.CoordinatorNotAvailable)
	})
}

// Leadership comes and goes with epochs: what is late does nothing.
func TestResignation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, l, g := newLeader(t)
		defer l.stop()
		<-l.commit(commitOf(g, 1))

		// Another epoch of the same leadership loads nothing anew.
		log.Hold(true)
		l.c.RoleChanged(role(1, replica.Leader, 6, replica.LeaderAndISR))
		kept := commitOf(g, 2)
		keptDone := l.commit(kept)
		log.Acknowledge(nil, true)
		<-keptDone
		is(t, "commit", kept.Offsets[0].Err, nil)

		// What waits is answered: parked joins, commits on their way and in line.
		join := l.join(JoinRequest{Group: g, ClientID: "m"})
		onWay, inLine := commitOf(g+"x", 3), commitOf(g+"x", 4)
		for statelog.PartitionFor(onWay.Group, 2) != 1 {
			onWay.Group += "x"
		}
		inLine.Group = onWay.Group
		first, second := l.commit(onWay), l.commit(inLine)
		l.c.RoleChanged(role(1, replica.Follower, 4, replica.LeaderAndISR)) // old news
		synctest.Wait()
		if len(join) != 0 || isDone(first) {
			t.Fatal("answered on old news")
		}
		l.follows(1, 7)
		is(t, "join", (<-join).Err, kerr.NotCoordinator)
		<-first
		<-second
		is(t, "commit on its way", onWay.Offsets[0].Err, kerr.NotCoordinator)
		is(t, "commit in line", inLine.Offsets[0].Err, kerr.NotCoordinator)

		// The acknowledgement comes late, while another leadership has begun.
		log.Reads = make(chan struct{})
		l.leads(1, 8)
		synctest.Wait()
		l.expect(g, kerr.CoordinatorLoadInProgress.Error())
		log.Acknowledge(nil, false)
		synctest.Wait()
		log.Reads <- struct{}{}
		synctest.Wait()
		l.expect(g, "t-0=2")
		l.expect(onWay.Group, "t-0=3") // in the log it was

		// A load that is late.
		l.follows(1, 9)
		l.leads(1, 10)
		synctest.Wait()
		l.follows(1, 11)
		close(log.Reads)
		synctest.Wait()
		l.expect(g, kerr.NotCoordinator.Error())

		// A deletion needs no newer epoch, and the next topic begins with 0.
		l.leads(1, 12)
		synctest.Wait()
		l.expect(g, "t-0=2")
		l.c.RoleChanged(role(1, replica.None, 12, replica.Deleted))
		l.expect(g, kerr.NotCoordinator.Error())
		l.leads(1, 0)
		synctest.Wait()
		l.expect(g, "t-0=2")
		l.c.RoleChanged(role(1, replica.None, 0, replica.FailedDirectory))
		l.expect(g, kerr.NotCoordinator.Error())
	})
}

// A partition that cannot be read is tried again, and another one does not wait for it.
func TestLoadIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, l, g := newLeader(t)
		defer l.stop()
		<-l.commit(commitOf(g, 1))
		l.follows(1, 6)
		log.Unread(kerr.KafkaStorageError)
		l.leads(1, 7)
		l.leads(0, 7)
		time.Sleep(10 * time.Second)
		l.expect(g, kerr.CoordinatorLoadInProgress.Error())
		log.Unread(nil)
		time.Sleep(30 * time.Second)
		l.expect(g, "t-0=1")
		l.expect(groupIn(0), "")
	})
}

// A partition that is being deleted while it is loaded.
func TestTopicDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, l, g := newLeader(t)
		defer l.stop()
		<-l.commit(commitOf(g, 1, 2, 3))
		l.c.PartitionsDeleted([]protocol.TopicPartition{{Topic: "t", Partition: 1}})
		l.expect(g, "t-0=1 t-2=3")
		l.follows(1, 6)
		log.Reads = make(chan struct{})
		l.leads(1, 7)
		synctest.Wait()
		l.c.PartitionsDeleted([]protocol.TopicPartition{{Topic: "t", Partition: 2}, {Topic: "u"}})
		close(log.Reads)
		synctest.Wait()
		l.expect(g, "t-0=1")
		l.follows(1, 8)
		l.leads(1, 9)
		synctest.Wait()
		l.expect(g, "t-0=1")
	})
}

// Sessions, rebalances and retention with the real timers.
func TestTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l, g := newLeader(t)
		defer l.stop()
		began := time.Now()
		j := l.member(g)
		if waited := time.Since(began); waited != 3*time.Second {
			t.Errorf("the first rebalance took %v", waited)
		}
		for range 20 {
			time.Sleep(9 * time.Second)
			is(t, "heartbeat", l.c.Heartbeat(&HeartbeatRequest{Group: g, MemberID: j.MemberID, Generation: j.Generation}), nil)
		}
		c := commitOf(g, 7)
		c.MemberID, c.Generation = j.MemberID, j.Generation
		<-l.commit(c)
		is(t, "commit", c.Offsets[0].Err, nil)
		if list, err := l.c.List(); err != nil || len(list) != 1 || list[0] != (Listed{g, "consumer", Stable}) {
			t.Errorf("listed %v, %v", list, err)
		}
		d, _ := l.c.Describe(g)
		if d.State != Stable || d.Protocol != "range" || len(d.Members) != 1 || d.Members[0].ClientHost != "/h" || !strings.HasPrefix(d.Members[0].ID, "m-") {
			t.Errorf("described as %+v", d)
		}
		time.Sleep(10*time.Second - 1)
		if d, _ := l.c.Describe(g); d.State != Stable {
			t.Errorf("%v before the session has ended", d.State)
		}
		time.Sleep(1)
		synctest.Wait()
		if d, _ := l.c.Describe(g); d.State != Empty {
			t.Errorf("%v after the session has ended", d.State)
		}
		if s := l.c.Stats(); s.Groups[Empty] != 1 || s.Offsets != 1 || s.Commits != 1 {
			t.Errorf("%+v", s)
		}
		time.Sleep(7*24*time.Hour - time.Second)
		l.expect(g, "t-0=7")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		l.expect(g, "")
		if list, _ := l.c.List(); len(list) != 0 {
			t.Errorf("listed %v", list)
		}
		// It has not come back from the log either.
		l.follows(1, 6)
		l.leads(1, 7)
		synctest.Wait()
		if list, _ := l.c.List(); len(list) != 0 {
			t.Errorf("listed %v", list)
		}
	})
}

// Ids that nobody comes back with have a bound.
func TestPendingMembersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, memlog.New())
		defer l.stop()
		l.leads(1, 1)
		synctest.Wait()
		g := groupIn(1)
		for range maxPending {
			is(t, "join", (<-l.join(JoinRequest{Group: g, TwoSteps: true})).Err, kerr.MemberIDRequired)
		}
		is(t, "join", (<-l.join(JoinRequest{Group: g, TwoSteps: true})).Err, kerr.GroupMaxSizeReached)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		is(t, "join", (<-l.join(JoinRequest{Group: g, TwoSteps: true})).Err, kerr.MemberIDRequired)
	})
}

// What is due before the timer fires sets it earlier.
func TestTimerIsSetEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, memlog.New())
		defer l.stop()
		l.leads(1, 1)
		synctest.Wait()
		join := func() <-chan JoinResult {
			result := make(chan JoinResult, 1)
			l.c.Join(&JoinRequest{
				Group: groupIn(1), SessionTimeout: 30 * time.Minute, RebalanceTimeout: 10 * time.Second,
				ProtocolType: "consumer", Protocols: []Protocol{{"range", nil}},
			}, func(r JoinResult) { result <- r })
			return result
		}
		j := <-join()
		<-l.sync(SyncRequest{Group: groupIn(1), MemberID: j.MemberID, Generation: j.Generation})
		time.Sleep(time.Minute) // the time to sync is over, and the session alone is left
		began := time.Now()
		is(t, "join", (<-join()).Err, nil)
		if waited := time.Since(began); waited != 10*time.Second {
			t.Errorf("the rebalance took %v", waited)
		}
	})
}

func TestAllOffsets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, memlog.New())
		defer l.stop()
		l.leads(0, 1)
		l.leads(1, 1)
		synctest.Wait()
		<-l.commit(commitOf(groupIn(0), 10, 20, 30))
		<-l.commit(commitOf(groupIn(1), 5))
		got := map[string]int64{}
		for id, o := range l.c.AllOffsets() {
			got[fmt.Sprint(id, " ", o.TopicPartition)] = o.Offset
		}
		want := map[string]int64{groupIn(0) + " t-0": 10, groupIn(0) + " t-1": 20, groupIn(0) + " t-2": 30, groupIn(1) + " t-0": 5}
		if !maps.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}
