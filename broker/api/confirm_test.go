package api

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/protocol"
)

// confirm asks a broker whether it is sure to lead t0, and says how long that took.
func (ns *nodes) confirm(id, epoch int32, patience time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ns.t.Context(), patience)
	defer cancel()
	begun := time.Now()
	err := ns.partition(id, t0).ConfirmLeader(ctx, epoch)
	return time.Since(begun), err
}

// decides has the controller decide on a leader of t0, of which it tells only some.
func (ns *nodes) decides(leader int32, told ...int32) {
	ns.mu.Lock()
	d := ns.partitions[t0]
	d.leader = leader
	d.epoch++
	d.version++
	ns.mu.Unlock()
	ns.send(t0, told...)
}

func (ns *nodes) expectSure(what string, id, epoch int32) {
	ns.t.Helper()
	if took, err := ns.confirm(id, epoch, time.Hour); err != nil || took > 2*time.Second {
		ns.t.Errorf("%s: after %v: %v", what, took, err)
	}
}

// expectUnsure fails unless a broker gives up at once, or as late as it may.
func (ns *nodes) expectUnsure(what string, id, epoch int32, atOnce bool) {
	ns.t.Helper()
	took, err := ns.confirm(id, epoch, 5*time.Second)
	if !errors.Is(err, kerr.NotLeaderForPartition) || atOnce && took > time.Second || !atOnce && took != 5*time.Second {
		ns.t.Errorf("%s: after %v: %v", what, took, err)
	}
}

// A leader is sure to lead only when all who are in sync say that they know of no other.
func TestConfirmLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := newNodes(t, 3)
		ns.create(t0, 1, 2, 3)
		settle()
		ns.expectSure("all follow", 1, 0)
		ns.expectUnsure("not led in that epoch", 1, 1, true)
		ns.expectUnsure("a follower", 2, 0, true)

		ns.decides(2, 2)
		ns.expectUnsure("another one leads", 1, 0, true)
		ns.send(t0, 1, 3)
		settle()
		ns.expectSure("the other one is sure", 2, 1)
		ns.decides(1, 1, 2, 3)
		settle()
		ns.expectSure("leads again", 1, 2)
		ns.expectUnsure("had led before", 1, 0, true)

		ns.decides(2, 3)
		ns.expectUnsure("the other one is about to lead", 1, 2, false)
		ns.decides(1, 1, 2, 3)
		settle()

		ns.decides(2)
		ns.decides(3, 2)
		ns.expectUnsure("another one has led meanwhile", 1, 4, true)
		ns.decides(1, 1, 2, 3)
		settle()

		ns.decides(1, 1)
		ns.expectSure("others have not heard of its new epoch yet", 1, 8)
		ns.expectSure("it leads on in a new epoch", 1, 4)
		ns.send(t0, 2, 3)
		settle()

		// Who comes back without knowing anything may have led, and have forgotten it.
		ns.kill(2, nil)
		ns.start(2)
		ns.expectUnsure("a replica has forgotten", 1, 8, false)
		ns.send(t0, 2)
		ns.expectSure("it has heard again", 1, 8)
	})
}

// While a replica does not answer the leader is not sure, until it is not in sync any
// more. The one that is alone in sync is sure.
func TestConfirmWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := newNodes(t, 2)
		ns.create(t0, 1, 2)
		settle()
		ns.weather.part(1, 2, true)
		ns.expectUnsure("cut off", 1, 0, false)
		ns.weather.part(1, 2, false)
		ns.expectSure("joined", 1, 0)

		ns.weather.part(1, 2, true)
		ns.append(1, t0, "what it lacks")
		took, err := ns.confirm(1, 0, time.Hour)
		if isr := ns.isr(t0); err != nil || took < 20*time.Second || !slices.Equal(isr, []int32{1}) {
			t.Errorf("after %v, with %v in sync: %v", took, isr, err)
		}
		ns.expectSure("alone in sync", 1, 0)
	})
}

// Whom the controller has let in without the leader's knowing may lead.
func TestConfirmWhileOneJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := newNodes(t, 2)
		ns.create(t0, 1, 2)
		settle()
		ns.mu.Lock()
		ns.onAlter = func(req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
			ns.mu.Lock()
			defer ns.mu.Unlock()
			if d := ns.partitions[t0]; len(d.isr) == 1 {
				d.isr = []int32{1, 2}
				d.version++
			}
			return nil, errors.New("the answer is lost")
		}
		ns.mu.Unlock()
		ns.lead(t0, 1, 1)
		settle()
		if isr := ns.isr(t0); len(isr) != 2 {
			t.Fatalf("in sync are %v", isr)
		}
		ns.decides(2, 2)
		ns.expectUnsure("who joined leads", 1, 1, true)
	})
}

// What many ask at a time goes to each broker in one request after the other; who asks
// while one is under way is answered by the next.
func TestConfirmTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := newNodes(t, 2)
		ns.create(t0, 1, 2)
		settle()
		asked, first := 0, make(chan struct{})
		ns.onConfirm = func(to int32, req *kmsg.OffsetForLeaderEpochRequest) {
			asked++
			if to != 2 || len(req.Topics) != 1 || len(req.Topics[0].Partitions) != 1 {
				t.Errorf("asked broker %d: %+v", to, req)
			}
			if asked == 1 {
				<-first
			}
		}
		var callers sync.WaitGroup
		ask := func(n int) {
			for range n {
				callers.Go(func() { ns.expectSure("together", 1, 0) })
			}
			synctest.Wait()
		}
		ask(1)
		ask(100)
		close(first)
		callers.Wait()
		if asked != 2 {
			t.Errorf("%d requests for 101 questions", asked)
		}
	})
}

// A coordinator that was replaced and does not know it tells nobody what was committed in
// its time.
func TestReplacedCoordinatorTellsNoOffsets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := newNodes(t, 2, "offsets.topic.num.partitions=1")
		home := protocol.TopicPartition{Topic: protocol.ConsumerOffsetsTopic}
		ns.create(home, 1, 2)
		ns.create(t0, 1)
		settle()
		c, err := ns.brokers[1].dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		client := &world{t: t, conn: c}
		expectList(t, "commit", committedCodes(call[*kmsg.OffsetCommitResponse](client, 9, committing("g", "t/0=7"))), "t/0 0")
		for _, replaced := range []bool{false, true} {
			code, offset := "0", []string{"t/0 7 0"}
			if replaced {
				code, offset = "16", nil
				ns.mu.Lock()
				d := ns.partitions[home]
				d.leader, d.epoch, d.version = 2, d.epoch+1, d.version+1
				ns.mu.Unlock()
				ns.send(home, 2)
			}
			for v := int16(1); v <= 9; v++ {
				for _, req := range []*kmsg.OffsetFetchRequest{fetching("g", "t/0"), fetching("g")} {
					resp := call[*kmsg.OffsetFetchResponse](client, v, req)
					switch {
					case v >= 8:
						expectList(t, "groups", fetchedGroups(resp), slices.Concat([]string{"g " + code}, offset)...)
					case v == 1 && replaced && len(req.Topics) > 0:
						expectList(t, "version 1", fetchedOffsets(resp), "t/0 -1 16")
					case v > 1:
						expectList(t, "offsets", fetchedOffsets(resp), offset...)
						if (resp.ErrorCode != 0) != replaced {
							t.Errorf("version %d: code %d", v, resp.ErrorCode)
						}
					}
				}
			}
		}
	})
}
