package zkmeta

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// RequestTopicDeletion asks the controller to delete a topic. Asking twice is no
// error. The error wraps kerr.UnknownTopicOrPartition if there is no such topic.
func (c *Client) RequestTopicDeletion(ctx context.Context, topic string) error {
	_, err := c.do1(ctx, session.Exists(TopicPath(topic), nil))
	if errors.Is(err, session.ErrNoNode) {
		return fmt.Errorf("delete topic %s: %w", topic, kerr.UnknownTopicOrPartition)
	}
	if err == nil {
		err = c.ensurePath(ctx, DeleteTopicPath(topic))
	}
	if err != nil {
		return fmt.Errorf("delete topic %s: %w", topic, err)
	}
	return nil
}

// DeleteTopicRequests lists the topics whose deletion was asked for, sorted. w fires
// when one is added or done.
func (c *Client) DeleteTopicRequests(ctx context.Context, w *session.Watch) ([]string, error) {
	topics, err := c.children(ctx, DeleteTopicsPath, w)
	if err != nil {
		return nil, fmt.Errorf("list the topics to delete: %w", err)
	}
	slices.Sort(topics)
	return topics, nil
}

// DropDeleteTopicRequests removes requests without doing them, as the controller:
// those for topics that do not exist, or all where deletion is disabled.
func (c *Client) DropDeleteTopicRequests(ctx context.Context, claim Claim, topics []string) error {
	paths := make([]string, len(topics))
	for i, topic := range topics {
		paths[i] = DeleteTopicPath(topic)
	}
	if err := c.fencedDelete(ctx, claim, paths); err != nil {
		return fmt.Errorf("drop requests to delete topics: %w", err)
	}
	return nil
}

// FinishTopicDeletion removes what ZooKeeper holds of a topic, as the controller,
// when no replica is left: first the topic's tree, then its configuration, then the
// request. The request goes last, so that a controller elected in the middle does
// the rest. Doing it again is no error.
func (c *Client) FinishTopicDeletion(ctx context.Context, claim Claim, topic string) error {
	err := c.deleteTree(ctx, claim, TopicPath(topic))
	if err == nil {
		err = c.fencedDelete(ctx, claim, []string{TopicConfig(topic).Path(), DeleteTopicPath(topic)})
	}
	if err != nil {
		return fmt.Errorf("finish the deletion of topic %s: %w", topic, err)
	}
	return nil
}

// deleteTree removes a node and all below it: it lists level by level, and deletes
// from the lowest level up, each pipelined.
func (c *Client) deleteTree(ctx context.Context, claim Claim, root string) error {
	reader := c.In(claim.Session)
	for {
		var all []string
		for level := []string{root}; len(level) > 0; {
			all = append(all, level...)
			next, err := reader.childPaths(ctx, level)
			if err != nil {
				return err
			}
			level = next
		}
		slices.Reverse(all)
		err := c.fencedDelete(ctx, claim, all)
		if errors.Is(err, session.ErrNotEmpty) {
			continue // something was created below meanwhile
		}
		return err
	}
}

// childPaths lists the children of all parents, as paths.
func (c *Client) childPaths(ctx context.Context, parents []string) ([]string, error) {
	ops := make([]session.Op, len(parents))
	for i, path := range parents {
		ops[i] = session.Children(path, nil)
	}
	var paths []string
	for i, r := range c.zk.Do(ctx, c.in, ops...) {
		if r.Err != nil && !errors.Is(r.Err, session.ErrNoNode) {
			return nil, r.Err
		}
		for _, name := range r.Children {
			paths = append(paths, parents[i]+"/"+name)
		}
	}
	return paths, nil
}
