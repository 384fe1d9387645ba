package zkmeta

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// PartitionEntry is a partition's state together with its place and version.
type PartitionEntry struct {
	protocol.TopicPartition
	State PartitionState
	// ZkVersion is the partition epoch: the version of the state's node.
	ZkVersion int32
	// Err is set in results only, and says that the rest is not.
	//
	// When reading: a *MalformedError, or wraps kerr.UnknownTopicOrPartition if there
	// is no state. When writing: wraps session.ErrBadVersion (ErrNodeExists when
	// creating) if another state stands there, which is then in State and ZkVersion;
	// session.ErrNoNode or kerr.UnknownTopicOrPartition if the partition is gone; or says
	// why the state cannot be written at all, or what stands there not be read.
	Err error
}

// PartitionStates reads the states of partitions, pipelined, in the order of
// partitions.
func (c *Client) PartitionStates(ctx context.Context, partitions []protocol.TopicPartition) ([]PartitionEntry, error) {
	paths := make([]string, len(partitions))
	for i, tp := range partitions {
		paths[i] = PartitionStatePath(tp)
	}
	entries := make([]PartitionEntry, len(partitions))
	for i, r := range c.gets(ctx, paths, nil) {
		e := &entries[i]
		e.TopicPartition = partitions[i]
		switch {
		case errors.Is(r.Err, session.ErrNoNode):
			e.Err = fmt.Errorf("state of partition %v: %w", partitions[i], kerr.UnknownTopicOrPartition)
		case r.Err != nil:
			return nil, fmt.Errorf("read the state of partition %v: %w", partitions[i], r.Err)
		default:
			e.State, e.Err = DecodePartitionState(partitions[i], r.Data)
			e.ZkVersion = r.Stat.Version
		}
	}
	return entries, nil
}

// CreatePartitionStates creates the nodes of new partitions as the controller:
// partitions, P and state, level by level, each level pipelined. Results are in the
// order of entries. The error is ErrNotController, or the end of the session or
// context.
func (c *Client) CreatePartitionStates(ctx context.Context, claim Claim, entries []PartitionEntry) ([]PartitionEntry, error) {
	var parents, partitions []session.Op
	seen := map[string]bool{}
	for _, e := range entries {
		if !seen[e.Topic] {
			seen[e.Topic] = true
			parents = append(parents, session.Create(TopicPartitionsPath(e.Topic), nil, session.Persistent))
		}
		partitions = append(partitions, session.Create(PartitionPath(e.TopicPartition), nil, session.Persistent))
	}
	for _, level := range [][]session.Op{parents, partitions} {
		// A node that exists is as good; one that cannot be made fails its state below.
		if _, err := c.fenced(ctx, claim, level); err != nil {
			return nil, fmt.Errorf("create partitions: %w", err)
		}
	}
	results, err := c.writeStates(ctx, claim, entries, func(e PartitionEntry, data []byte) session.Op {
		return session.Create(PartitionStatePath(e.TopicPartition), data, session.Persistent)
	})
	if err != nil {
		return nil, fmt.Errorf("create partition states: %w", err)
	}
	return results, nil
}

// UpdatePartitionStates writes states as the controller, each on condition that its
// node still has ZkVersion. Results are in the order of entries, with the new
// versions. The error is ErrNotController, or the end of the session or context.
//
// A state that has been written but whose reply was lost is found by reading again:
// no other controller could have written the same, since the state contains the
// epoch of the controller that wrote it.
func (c *Client) UpdatePartitionStates(ctx context.Context, claim Claim, entries []PartitionEntry) ([]PartitionEntry, error) {
	results, err := c.writeStates(ctx, claim, entries, func(e PartitionEntry, data []byte) session.Op {
		return session.Set(PartitionStatePath(e.TopicPartition), data, e.ZkVersion)
	})
	if err != nil {
		return nil, fmt.Errorf("update partition states: %w", err)
	}
	return results, nil
}

// writeStates writes states by one operation each and settles those that met
// another version.
func (c *Client) writeStates(ctx context.Context, claim Claim, entries []PartitionEntry, write func(PartitionEntry, []byte) session.Op) ([]PartitionEntry, error) {
	results := make([]PartitionEntry, len(entries))
	var ops []session.Op
	var sent []int // indexes of entries
	for i, e := range entries {
		if e.State.ControllerEpoch != claim.Epoch {
			return nil, fmt.Errorf("partition %v: state of controller epoch %d written in epoch %d", e.TopicPartition, e.State.ControllerEpoch, claim.Epoch)
		}
		results[i] = PartitionEntry{TopicPartition: e.TopicPartition, State: e.State}
		data, err := e.State.Encode()
		if err != nil {
			// It follows from what somebody else wrote, and is no reason to fail others.
			results[i].Err = fmt.Errorf("partition %v: %w", e.TopicPartition, err)
			continue
		}
		ops, sent = append(ops, write(e, data)), append(sent, i)
	}
	answers, err := c.fenced(ctx, claim, ops)
	if err != nil {
		return nil, err
	}
	var unclear []int
	for at, r := range answers {
		i := sent[at]
		results[i].Err = r.Err
		switch {
		case r.Err == nil:
			results[i].ZkVersion = r.Stat.Version // 0 for a create, which has no Stat in a multi
		case errors.Is(r.Err, session.ErrBadVersion), errors.Is(r.Err, session.ErrNodeExists):
			unclear = append(unclear, i)
		}
	}
	if len(unclear) == 0 {
		return results, nil
	}
	return results, c.settle(ctx, claim, entries, results, unclear)
}

// settle reads again the states that were refused. One that equals ours is ours.
func (c *Client) settle(ctx context.Context, claim Claim, wanted, results []PartitionEntry, unclear []int) error {
	partitions := make([]protocol.TopicPartition, len(unclear))
	for i, at := range unclear {
		partitions[i] = results[at].TopicPartition
	}
	stored, err := c.In(claim.Session).PartitionStates(ctx, partitions)
	if err != nil {
		return err
	}
	for i, at := range unclear {
		switch s := stored[i]; {
		case s.Err != nil:
			results[at].Err = fmt.Errorf("what stands there instead: %w", s.Err)
		case s.State.ControllerEpoch > claim.Epoch:
			return fmt.Errorf("partition %v was written in epoch %d: %w", s.TopicPartition, s.State.ControllerEpoch, ErrNotController)
		case s.State.Equal(wanted[at].State):
			results[at] = s
		default:
			results[at].State, results[at].ZkVersion = s.State, s.ZkVersion
		}
	}
	return nil
}
