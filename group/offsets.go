package group

import (
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
)

// expire removes the offsets whose time is over (KIP-211), and with the last one the
// group, if it has no members. It returns how many they were.
func (g *classicGroup) expire(now time.Time, fx *effects) int {
	expired := g.expired(now)
	g.removeOffsets(now, expired, fx)
	return len(expired)
}

// expired returns the offsets that are to go. An offset's age counts from when the
// group became empty; from its commit if that is not known, if the group never had
// members, or if it has some that have not subscribed to the topic. Nothing expires
// while it is not known who wants what, or a commit is under way.
func (g *classicGroup) expired(now time.Time) (list []protocol.TopicPartition) {
	nowMS := now.UnixMilli()
	fromState := false
	switch {
	case g.protocolType == "":
	case g.state == Empty:
		fromState = g.stateMS >= 0
	case g.state == Stable && g.protocolType == consumerProtocolType && g.subscribed != nil:
	default:
		return nil
	}
	for tp, o := range g.offsets.all() {
		since := o.CommitMS
		if fromState {
			since = g.stateMS
		}
		over := nowMS-since >= g.limits.OffsetsRetention.Milliseconds()
		if o.ExpireMS != NoExpiry {
			over = nowMS >= o.ExpireMS
		}
		wanted := g.state == Stable && g.subscribed.contains(tp.Topic)
		if over && !wanted && g.inFlight[tp].n == 0 {
			list = append(list, tp)
		}
	}
	return list
}

// removeOffsets removes committed offsets, and those that wait for a transaction's end.
// A group without members does not outlive its last offset: then it is dead.
func (g *classicGroup) removeOffsets(now time.Time, partitions []protocol.TopicPartition, fx *effects) {
	t := &tombstones{}
	for _, tp := range slices.Backward(partitions) { // each is the last of its topic
		if g.removeOffset(tp) {
			t.offsets = append(t.offsets, tp)
		}
	}
	if g.state == Empty && !g.hasOffsets() {
		g.end(now, t, fx)
	} else if len(t.offsets) > 0 {
		fx.write(write{group: g.id, tombstones: t, timeMS: now.UnixMilli()})
	}
}

// end ends the group. It has a tombstone of its own unless it never had a generation:
// then nothing of it was ever written.
func (g *classicGroup) end(now time.Time, t *tombstones, fx *effects) {
	g.transition(Dead, now)
	g.wake = time.Time{}
	t.group = g.generation > 0
	if len(t.offsets) > 0 || t.group {
		fx.write(write{group: g.id, tombstones: t, timeMS: now.UnixMilli()})
	}
}

// removeOffset reports whether the log may know of such an offset. Kafka writes no
// tombstone for one that is on its way there or waits for its transaction, and so it
// comes back.
func (g *classicGroup) removeOffset(tp protocol.TopicPartition) bool {
	found := g.dropOffset(tp)
	if f := g.inFlight[tp]; f.n > 0 {
		f.valid = g.commits
		g.inFlight[tp] = f
		found = true
	}
	for id, t := range g.transactions {
		if o, ok := t.offsets[tp]; ok {
			found = true
			g.takes -= openOffsetFootprint(tp.Topic, o.Metadata)
			delete(t.offsets, tp)
			g.closeIfEmpty(id, t)
		}
	}
	return found
}

// known returns the partitions that the group has offsets of, or may soon have.
func (g *classicGroup) known(partitions []protocol.TopicPartition) (list []protocol.TopicPartition) {
	for _, tp := range partitions {
		if _, ok := g.offsets.get(tp); ok || g.unstable(tp) {
			list = append(list, tp)
		}
	}
	return list
}

func (g *classicGroup) hasOffsets() bool {
	return g.offsets.len()+len(g.inFlight)+len(g.transactions) > 0
}

// delete ends a group without members, with all its offsets.
func (g *classicGroup) delete(now time.Time, fx *effects) error {
	switch g.state {
	case Empty:
	case Dead:
		return kerr.GroupIDNotFound
	default:
		return kerr.NonEmptyGroup
	}
	all := map[protocol.TopicPartition]struct{}{}
	for tp := range g.offsets.all() {
		all[tp] = struct{}{}
	}
	for tp := range g.inFlight {
		all[tp] = struct{}{}
	}
	for _, t := range g.transactions {
		for tp := range t.offsets {
			all[tp] = struct{}{}
		}
	}
	t := &tombstones{}
	for _, tp := range slices.Backward(slices.SortedFunc(maps.Keys(all), protocol.TopicPartition.Compare)) {
		g.removeOffset(tp)
		t.offsets = append(t.offsets, tp)
	}
	g.end(now, t, fx)
	return nil
}

// OffsetDeletion is a partition whose offset is to be deleted, and what came of it.
type OffsetDeletion struct {
	protocol.TopicPartition
	Err error // set by [Coordinator.DeleteOffsets]
}

// deleteOffsets removes the offsets that nobody of the group wants: those of topics
// that its members have subscribed to stay. It is no error if there is none.
func (g *classicGroup) deleteOffsets(now time.Time, list []OffsetDeletion, fx *effects) error {
	switch {
	case g.state == Dead:
		return kerr.GroupIDNotFound
	case g.state != Empty && g.protocolType != consumerProtocolType:
		return kerr.NonEmptyGroup
	}
	var eligible []protocol.TopicPartition
	for i := range list {
		d := &list[i]
		if g.state != Empty && g.subscribed.contains(d.Topic) {
			d.Err = kerr.GroupSubscribedToTopic
			continue
		}
		eligible = append(eligible, d.TopicPartition)
	}
	if len(eligible) > 0 {
		g.removeOffsets(now, eligible, fx)
	}
	return nil
}
