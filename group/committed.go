package group

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
)

// CommitOffsets answers an OffsetCommit or TxnOffsetCommit request: done is called when
// the Err of each offset is set. The offsets that have none are in the log, as safe as
// offsets.commit.required.acks makes them. Topics and partitions must exist; that is
// for the caller to check, before everything else.
//
// Errors are those of [Coordinator.Heartbeat] (of which the empty group is an invalid one
// only in a transaction) and kerr.CoordinatorLoadInProgress, OffsetMetadataTooLarge of one
// offset; RequestTimedOut, InvalidCommitOffsetSize, or what else kept the log from taking
// them. After RequestTimedOut, and after CoordinatorNotAvailable, they may be in the log
// all the same.
func (c *Coordinator) CommitOffsets(r *Commit, done func()) {
	r.done = done
	h, err := c.findForCommit(r)
	if err != nil {
		r.fail(err)
		done()
		return
	}
	var fx effects
	g, now := h.begin()
	g.commit(now, r, &fx)
	if r.Producer != nil && g.transactions[r.Producer.ID] != nil {
		h.of.opened(r.Producer.ID, h)
	}
	h.end(&fx, false)
	c.stats.commits.Add(uint64(len(r.Offsets)))
}

// findForCommit finds the group, or makes it for somebody who is in none.
func (c *Coordinator) findForCommit(r *Commit) (*hosted, error) {
	if err := checkName(r.Group); err != nil {
		return nil, err
	}
	if r.Group == "" && r.Producer != nil { // a name for commits outside of transactions
		return nil, kerr.InvalidGroupID
	}
	if r.Generation < 0 || r.Producer != nil {
		return c.findOrCreate(r.Group)
	}
	h, err := c.find(r.Group)
	if h == nil && err == nil {
		err = errIllegalGeneration
	}
	return h, err
}

// CheckMetadata returns kerr.OffsetMetadataTooLarge for metadata that CommitOffsets would
// not take. It is for offsets that are kept elsewhere.
func (c *Coordinator) CheckMetadata(metadata string) error { return c.settings.checkMetadata(metadata) }

// CommittedOffset is what is committed for a partition.
type CommittedOffset struct {
	protocol.TopicPartition
	OffsetValue
	// Unstable says that a commit of it is under way, so that it may soon be
	// something else; a client that requires stable offsets is to be told so
	// (kerr.UnstableOffsetCommit) instead of the offset (KIP-447).
	Unstable bool
}

// noOffset is what is told of a partition that nothing is committed for.
var noOffset = OffsetValue{Offset: -1, LeaderEpoch: -1, ExpireMS: NoExpiry}

// FetchOffsets appends to dst what a group has committed for partitions, offset −1
// where that is nothing. It may tell an old state, unless Confirm was called before.
// Errors are kerr.CoordinatorNotAvailable, CoordinatorLoadInProgress, NotCoordinator.
func (c *Coordinator) FetchOffsets(dst []CommittedOffset, group string, partitions []protocol.TopicPartition) ([]CommittedOffset, error) {
	h, err := c.find(group)
	if err != nil {
		return dst, err
	}
	if h == nil {
		for _, tp := range partitions {
			dst = append(dst, CommittedOffset{TopicPartition: tp, OffsetValue: noOffset})
		}
		return dst, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, tp := range partitions {
		o := CommittedOffset{TopicPartition: tp, OffsetValue: noOffset, Unstable: h.group.unstable(tp)}
		if stored, ok := h.group.offsets.get(tp); ok && h.group.state != Dead {
			o.OffsetValue = stored.OffsetValue
		}
		dst = append(dst, o)
	}
	return dst, nil
}

// FetchAllOffsets appends to dst all that a group has committed, in no order. Errors
// are those of FetchOffsets.
func (c *Coordinator) FetchAllOffsets(dst []CommittedOffset, group string) ([]CommittedOffset, error) {
	h, err := c.find(group)
	if err != nil || h == nil {
		return dst, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.group.appendOffsets(dst), nil
}

func (g *classicGroup) appendOffsets(dst []CommittedOffset) []CommittedOffset {
	if g.state == Dead {
		return dst
	}
	for tp, o := range g.offsets.all() {
		dst = append(dst, CommittedOffset{tp, o.OffsetValue, g.unstable(tp)})
	}
	return dst
}
