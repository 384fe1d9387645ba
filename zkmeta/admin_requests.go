package zkmeta

import (
	"context"
	"fmt"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// Reassignment reads what a legacy tool asked to be reassigned; ok is false if
// nothing. w fires when the request comes, changes or goes. The error is a
// *MalformedError if it cannot be read; Kafka's controller then deletes it.
func (c *Client) Reassignment(ctx context.Context, w *session.Watch) (targets map[protocol.TopicPartition][]int32, ok bool, err error) {
	r, ok, err := c.getOrWatch(ctx, ReassignPartitionsPath, w)
	if !ok || err != nil {
		return nil, false, err
	}
	targets, err = DecodeReassignment(r.Data)
	return targets, err == nil, err
}

// SetReassignment writes what is left to reassign, as the controller; with nothing
// left it removes the node.
func (c *Client) SetReassignment(ctx context.Context, claim Claim, targets map[protocol.TopicPartition][]int32) error {
	var err error
	if len(targets) == 0 {
		err = c.fencedDelete(ctx, claim, []string{ReassignPartitionsPath})
	} else if data, encodeErr := EncodeReassignment(targets); encodeErr != nil {
		err = encodeErr
	} else {
		_, err = c.fenced1(ctx, claim, session.Set(ReassignPartitionsPath, data, session.AnyVersion))
	}
	if err != nil {
		return fmt.Errorf("write the remaining reassignments: %w", err)
	}
	return nil
}

// PreferredElection reads which partitions a legacy tool asked to be led by their
// first replica; ok is false if none. w fires when the request comes, changes or
// goes.
func (c *Client) PreferredElection(ctx context.Context, w *session.Watch) (partitions []protocol.TopicPartition, ok bool, err error) {
	r, ok, err := c.getOrWatch(ctx, PreferredElectionPath, w)
	if !ok || err != nil {
		return nil, false, err
	}
	partitions, err = DecodePreferredElection(r.Data)
	return partitions, err == nil, err
}

// DeletePreferredElection removes the request as the controller.
func (c *Client) DeletePreferredElection(ctx context.Context, claim Claim) error {
	if err := c.fencedDelete(ctx, claim, []string{PreferredElectionPath}); err != nil {
		return fmt.Errorf("delete the preferred election: %w", err)
	}
	return nil
}
