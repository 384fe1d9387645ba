package group

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/internal/memlog"
	"github.com/gracchus-mq/gracchus/protocol"
)

// newCrowd returns a coordinator whose groups may take little memory, with one group that is at
// work, and commits of others that have used up the rest.
func newCrowd(t *testing.T, memory int64) (l *lab, log *memlog.Log, member JoinResult, strangers int) {
	t.Helper()
	log = memlog.New()
	l = newLab(t, log, func(s *Settings) { s.MemoryBytes, s.InitialRebalanceDelay = memory, 0 })
	l.leads(0, 5)
	l.leads(1, 5)
	synctest.Wait()
	member = l.member("worker")
	<-l.commit(l.commitAs("worker", member, 7))
	for ; ; strangers++ {
		c := commitOf(fmt.Sprint("stranger ", strangers), 1)
		<-l.commit(c)
		if c.Offsets[0].Err != nil {
			is(t, "commit of one too many", c.Offsets[0].Err, kerr.CoordinatorNotAvailable)
			return l, log, member, strangers
		}
		if int64(strangers)*groupFootprint > memory {
			t.Fatalf("%d groups have room in %d bytes", strangers, memory)
		}
	}
}

func (l *lab) commitAs(group string, j JoinResult, offsets ...int64) *Commit {
	c := commitOf(group, offsets...)
	c.MemberID, c.Generation = j.MemberID, j.Generation
	return c
}

// Strangers can use up the memory for groups. Then nothing grows any more, and those who
// are at work go on.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const memory = 100_000
		l, log, member, strangers := newCrowd(t, memory)
		defer l.stop()
		if s := l.c.Stats(); s.Bytes > memory+2*groupFootprint || s.Bytes < memory-2*groupFootprint {
			t.Errorf("%d bytes are taken", s.Bytes)
		}

		// No new group, and no new member, whatever it asks with.
		for _, twoSteps := range []bool{false, true} {
			is(t, "new group", (<-l.join(JoinRequest{Group: "another", TwoSteps: twoSteps})).Err, kerr.CoordinatorNotAvailable)
			is(t, "new member", (<-l.join(JoinRequest{Group: "worker", TwoSteps: twoSteps})).Err, kerr.CoordinatorNotAvailable)
		}
		is(t, "new static member", (<-l.join(JoinRequest{Group: "worker", InstanceID: pointer("i")})).Err, kerr.CoordinatorNotAvailable)
		more := l.commitAs("worker", member, 8, 9)
		<-l.commit(more)
		is(t, "a new partition", more.Offsets[0].Err, kerr.CoordinatorNotAvailable)
		longer := l.commitAs("worker", member, 8)
		longer.Offsets[0].Metadata = "longer"
		<-l.commit(longer)
		is(t, "longer metadata", longer.Offsets[0].Err, kerr.CoordinatorNotAvailable)
		rejoin := func(metadata string) error {
			result := make(chan JoinResult, 1)
			r := JoinRequest{Group: "worker", MemberID: member.MemberID, SessionTimeout: 10e9, RebalanceTimeout: 30e9, ProtocolType: "consumer"}
			r.Protocols = []Protocol{{"range", append(subscription("t"), metadata...)}}
			l.c.Join(&r, func(j JoinResult) { result <- j })
			j := <-result
			if j.Err == nil {
				member = j
			}
			return j.Err
		}
		is(t, "more to say", rejoin("more"), kerr.CoordinatorNotAvailable)

		// Who is there and does not grow is served.
		is(t, "heartbeat", l.c.Heartbeat(&HeartbeatRequest{Group: "worker", MemberID: member.MemberID, Generation: member.Generation}), nil)
		same := l.commitAs("worker", member, 8)
		<-l.commit(same)
		is(t, "commit of the same partition", same.Offsets[0].Err, nil)
		is(t, "rejoin", rejoin(""), nil)
		assign := func(size int) error {
			return (<-l.sync(SyncRequest{Group: "worker", MemberID: member.MemberID, Generation: member.Generation,
				Assignments: []Assignment{{member.MemberID, make([]byte, size)}}})).Err
		}
		is(t, "large assignments", assign(2000), kerr.CoordinatorNotAvailable)
		is(t, "small assignments", assign(0), nil)

		// What was loaded is served, even if it is too much, and does not grow.
		for n := range int32(2) {
			l.follows(n, 6)
		}
		if s := l.c.Stats(); s.Bytes != 0 {
			t.Errorf("%d bytes are taken by nothing", s.Bytes)
		}
		synctest.Wait() // a tick may have looked at the limit just now
		l.c.budget.limit = memory / 2
		for n := range int32(2) {
			log.Lead(n, 7)
			l.leads(n, 7)
		}
		synctest.Wait()
		l.expect("worker", "t-0=8")
		l.expect("stranger 0", "t-0=1")
		is(t, "new group", (<-l.join(JoinRequest{Group: "another"})).Err, kerr.CoordinatorNotAvailable)
		same = l.commitAs("worker", member, 9)
		<-l.commit(same)
		is(t, "commit", same.Offsets[0].Err, nil)

		// What goes leaves room.
		for i := range strangers {
			is(t, "delete", l.c.DeleteGroup(fmt.Sprint("stranger ", i)), nil)
		}
		is(t, "more to say", rejoin("more"), nil)
		is(t, "assignments", assign(2000), nil)
		more = l.commitAs("worker", member, 10, 11)
		<-l.commit(more)
		is(t, "a new partition", more.Offsets[0].Err, nil)
		l.c.PartitionsDeleted([]protocol.TopicPartition{{Topic: "t"}, {Topic: "t", Partition: 1}})
		is(t, "leave", l.c.Leave("worker", []Leaving{{MemberID: member.MemberID}}), nil)
		is(t, "delete", l.c.DeleteGroup("worker"), nil)
		if s := l.c.Stats(); s.Bytes != 0 {
			t.Errorf("%d bytes are taken by nothing", s.Bytes)
		}
	})
}

// Ids that are given out, and assignments on their way to the log, count.
func TestBudgetOfWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New()
		l := newLab(t, log, func(s *Settings) { s.MemoryBytes, s.InitialRebalanceDelay = 20_000, 0 })
		defer l.stop()
		l.leads(0, 5)
		l.leads(1, 5)
		synctest.Wait()
		given := 0
		for {
			j := <-l.join(JoinRequest{Group: "g", ClientID: "client", TwoSteps: true})
			if given++; j.Err != kerr.MemberIDRequired {
				is(t, "one id too many", j.Err, kerr.CoordinatorNotAvailable)
				break
			}
		}
		if given > 20_000/pendingFootprint {
			t.Errorf("%d ids were given out", given)
		}
		time.Sleep(11 * time.Second) // they have expired

		m := <-l.join(JoinRequest{Group: "h"})
		is(t, "join", m.Err, nil)
		log.Hold(true)
		synced := l.sync(SyncRequest{Group: "h", MemberID: m.MemberID, Generation: m.Generation, Assignments: []Assignment{{m.MemberID, make([]byte, 17_500)}}})
		is(t, "join", (<-l.join(JoinRequest{Group: "i"})).Err, kerr.CoordinatorNotAvailable)
		log.Acknowledge(kerr.NotEnoughReplicas, false)
		is(t, "sync", (<-synced).Err, kerr.CoordinatorNotAvailable)
		is(t, "join", (<-l.join(JoinRequest{Group: "i"})).Err, nil)
	})
}
