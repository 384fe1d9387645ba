package api

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/protocol"
)

const lastFindCoordinator = 6

// find asks for coordinators, one after the other before version 4, and returns what is
// answered as "key code node host:port text".
func find(w *world, version int16, kind int8, keys ...string) (found []string) {
	w.t.Helper()
	show := func(key string, code int16, node int32, host string, port int32, text *string) {
		if text == nil {
			text = kmsg.StringPtr("null")
		}
		found = append(found, fmt.Sprintf("%s %d %d %s:%d %s", key, code, node, host, port, *text))
	}
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType = kind
	if version >= 4 {
		req.CoordinatorKeys = keys
		for _, c := range call[*kmsg.FindCoordinatorResponse](w, version, req).Coordinators {
			show(c.Key, c.ErrorCode, c.NodeID, c.Host, c.Port, c.ErrorMessage)
		}
		return found
	}
	for _, key := range keys {
		req.CoordinatorKey = key
		r := call[*kmsg.FindCoordinatorResponse](w, version, req)
		show(key, r.ErrorCode, r.NodeID, r.Host, r.Port, r.ErrorMessage)
	}
	return found
}

func expectFound(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// text is what comes with a code in a version.
func text(version, code int16) string {
	switch {
	case version == 0:
		return "null"
	case version >= 4:
		return ""
	case code == 0:
		return "NONE"
	}
	return kerr.TypedErrorForCode(code).Description
}

func TestFindCoordinator(t *testing.T) {
	w := newWorld(t, "offsets.topic.num.partitions=2")
	// By the hash of Java's strings "a" and "c" belong to partition 1, "b" and "" to 0.
	const notAvailable, invalid = 15, 42
	for v := range int16(lastFindCoordinator + 1) {
		expectFound(t, fmt.Sprint("no topic, version ", v), find(w, v, groupCoordinator, "a"), fmt.Sprint("a 15 -1 :-1 ", text(v, notAvailable)))
	}
	if n := len(w.topics.auto); n != lastFindCoordinator+1 || w.topics.auto[0] != protocol.ConsumerOffsetsTopic {
		t.Errorf("topics made: %q", w.topics.auto)
	}
	w.topics.auto = nil
	find(w, 4, groupCoordinator, "a", "b", "c")
	if len(w.topics.auto) != 1 {
		t.Errorf("one request has made topics %q", w.topics.auto)
	}
	w.topics.auto = nil
	find(w, 4, groupCoordinator)
	if len(w.topics.auto) != 0 {
		t.Errorf("a request for nobody has made topics %q", w.topics.auto)
	}

	w.lead(protocol.ConsumerOffsetsTopic, 2, 0)
	for v := range int16(lastFindCoordinator + 1) {
		got := find(w, v, groupCoordinator, "a", "b", "a", "")
		here := " 0 1 host1:9092 " + text(v, 0)
		expectFound(t, fmt.Sprint("version ", v), got, "a"+here, "b"+here, "a"+here, here)
		if v >= 4 {
			expectFound(t, fmt.Sprint("nobody, version ", v), find(w, v, groupCoordinator))
		}
	}
	for v := int16(1); v <= lastFindCoordinator; v++ {
		for _, kind := range []int8{-1, 3, 127} {
			says := " 42 -1 :-1 " + kerr.InvalidRequest.Description
			expectFound(t, fmt.Sprintf("type %d, version %d", kind, v), find(w, v, kind, "a", "b"), "a"+says, "b"+says)
		}
		shares := " 42 -1 :-1 " + text(v, invalid)
		if v >= 6 {
			shares = " 15 -1 :-1 "
		}
		expectFound(t, fmt.Sprint("shares, version ", v), find(w, v, shareCoordinator, "a", ""), "a"+shares, shares)
	}
	if len(w.topics.auto) != 0 {
		t.Errorf("topics %q have been made although they are there, or not needed", w.topics.auto)
	}

	// Partition 1 moves to a broker that lives, to none, and to one that does not live.
	lead := func(leader, epoch int32) {
		state := kmsg.NewUpdateMetadataRequestTopicState()
		state.Topic, state.TopicID = protocol.ConsumerOffsetsTopic, topicID(protocol.ConsumerOffsetsTopic)
		state.PartitionStates = []kmsg.UpdateMetadataRequestTopicPartition{{
			Partition: 1, ControllerEpoch: 3, Leader: leader, LeaderEpoch: epoch, ISR: []int32{2}, Replicas: []int32{2}, ZKVersion: epoch}}
		w.update(3, state)
	}
	for i, c := range []struct {
		leader int32
		want   string
	}{
		{2, "a 0 2 host2:9092 "},
		{-1, "a 15 -1 :-1 "},
		{7, "a 15 -1 :-1 "},
	} {
		lead(c.leader, int32(i+1))
		expectFound(t, fmt.Sprint("led by ", c.leader), find(w, 5, groupCoordinator, "a", "b"), c.want, "b 0 1 host1:9092 ")
	}

	// What clients are told they can use: the endpoint of the listener they come by.
	w.conn.Close()
	w.conn = w.dial(w.clients)
	expectFound(t, "by another listener", find(w, 5, groupCoordinator, "b"), "b 0 1 host1:9093 ")
}

// Who asks cannot do anything about it: the reason is in the log.
func TestFindCoordinatorWithoutTopic(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		err  error
		said int
	}{{kerr.TopicAlreadyExists, 0}, {kerr.UnknownTopicOrPartition, 0}, {fmt.Errorf("too few: %w", kerr.InvalidReplicationFactor), 1}} {
		w.topics.err = c.err
		expectFound(t, c.err.Error(), find(w, 6, groupCoordinator, "a"), "a 15 -1 :-1 ")
		w.logs.await(t, "cannot be created", c.said)
	}
}

// The coordinator of transactions is found by the same rules, in a topic of its own.
func TestFindTransactionCoordinator(t *testing.T) {
	w := newWorld(t, "transaction.state.log.num.partitions=2")
	for v := int16(1); v <= lastFindCoordinator; v++ {
		expectFound(t, fmt.Sprint("no topic, version ", v), find(w, v, transactionCoordinator, "a"), fmt.Sprint("a 15 -1 :-1 ", text(v, 15)))
	}
	if n := len(w.topics.auto); n != lastFindCoordinator || w.topics.auto[0] != protocol.TransactionStateTopic {
		t.Errorf("topics made: %q", w.topics.auto)
	}
	w.lead(protocol.TransactionStateTopic, 2, 0)
	for v := int16(1); v <= lastFindCoordinator; v++ {
		here := " 0 1 host1:9092 " + text(v, 0)
		expectFound(t, fmt.Sprint("version ", v), find(w, v, transactionCoordinator, "a", "b"), "a"+here, "b"+here)
	}
}
