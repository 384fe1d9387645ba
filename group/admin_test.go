package group

import (
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/internal/memlog"
	"github.com/gracchus-mq/gracchus/protocol"
)

func TestDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, memlog.New())
		defer l.stop()
		l.leads(1, 1)
		synctest.Wait()
		g := groupIn(1)
		<-l.commit(commitOf(g, 1, 2, 3))
		list := []OffsetDeletion{{TopicPartition: protocol.TopicPartition{Topic: "t", Partition: 1}}}
		is(t, "delete offsets", l.c.DeleteOffsets(g, list), nil)
		is(t, "delete an offset", list[0].Err, nil)
		l.expect(g, "t-0=1 t-2=3")
		l.member(g)
		is(t, "delete a group with members", l.c.DeleteGroup(g), kerr.NonEmptyGroup)
		list[0].Partition = 2
		is(t, "delete offsets", l.c.DeleteOffsets(g, list), nil)
		is(t, "delete an offset of a topic that is read", list[0].Err, kerr.GroupSubscribedToTopic)
		time.Sleep(10 * time.Second) // the session
		synctest.Wait()
		is(t, "delete", l.c.DeleteGroup(g), nil)
		is(t, "delete once more", l.c.DeleteGroup(g), kerr.GroupIDNotFound)
		// Both deletions are in the log.
		l.follows(1, 2)
		l.leads(1, 3)
		synctest.Wait()
		if list, err := l.c.List(); err != nil || len(list) != 0 {
			t.Errorf("listed %v, %v", list, err)
		}
	})
}

// Members are called after their client, or their instance, as in Kafka.
func TestMemberIDs(t *testing.T) {
	const uuid = "-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
	for want, r := range map[string]JoinRequest{
		"^client" + uuid + "$":   {ClientID: "client"},
		"^" + uuid + "$":         {},
		"^instance" + uuid + "$": {ClientID: "client", InstanceID: pointer("instance")},
	} {
		id := newMemberID(&r)
		if !regexp.MustCompile(want).MatchString(id) || id == newMemberID(&r) {
			t.Errorf("%q, want one like %s", id, want)
		}
	}
}

// A client of version 1 says itself how old a commit is, and versions 2 to 4 may say
// how long to keep it; a fail-over does not change that.
func TestAgeOfCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, memlog.New(), func(s *Settings) { s.RetentionCheckInterval = time.Minute })
		defer l.stop()
		l.leads(1, 1)
		synctest.Wait()
		g := groupIn(1)
		now := time.Now()
		c := commitOf(g, 1, 2, 3)
		c.Offsets[0].CommitMS = now.Add(-7*24*time.Hour + 30*time.Minute).UnixMilli()
		c.Offsets[1].ExpireMS = now.Add(10 * time.Minute).UnixMilli()
		<-l.commit(c)
		l.follows(1, 2)
		l.leads(1, 3)
		time.Sleep(9 * time.Minute)
		synctest.Wait()
		l.expect(g, "t-0=1 t-1=2 t-2=3")
		time.Sleep(time.Minute)
		synctest.Wait()
		l.expect(g, "t-0=1 t-2=3")
		time.Sleep(19 * time.Minute)
		synctest.Wait()
		l.expect(g, "t-0=1 t-2=3")
		time.Sleep(time.Minute)
		synctest.Wait()
		l.expect(g, "t-2=3")
	})
}

// What waits for a transaction's end makes its partition unstable, and no other.
func TestUnstableByTransaction(t *testing.T) {
	g := newClassicGroup("g", &Limits{}, epoch)
	tp := protocol.TopicPartition{Topic: "t"}
	g.transaction(7).offsets[tp] = storedOffset{}
	if !g.unstable(tp) || g.unstable(protocol.TopicPartition{Topic: "t", Partition: 1}) {
		t.Error("the wrong partition is unstable")
	}
}

// A stored group that no Kafka would have written does no harm.
func TestLoadOfOddGroup(t *testing.T) {
	value := groupValue{
		protocolType: "consumer", generation: 1, leader: pointer("nobody"), stateMS: -1,
		members: []memberValue{
			{id: "m", instanceID: pointer("i"), sessionTimeoutMS: 10_000},
			{id: "m", instanceID: pointer("j"), sessionTimeoutMS: 10_000},
			{id: "n", instanceID: pointer("i"), rebalanceTimeoutMS: -1, sessionTimeoutMS: 10_000},
		},
	}
	var fx effects
	g := loadedClassicGroup("g", &Limits{MaxSize: 10}, &loadedGroup{meta: &value}, epoch, &fx)
	if len(g.members) != 2 || g.leader != "m" || g.state != Stable || g.static["i"].id != "m" || g.byID["n"].rebalanceTimeout != 10*time.Second {
		t.Errorf("%+v", g)
	}
}
