package zkmeta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta/session"
)

// Topics lists the topics, sorted. w fires when one comes or goes.
func (c *Client) Topics(ctx context.Context, w *session.Watch) ([]string, error) {
	names, err := c.children(ctx, TopicsPath, w)
	if err != nil {
		return nil, fmt.Errorf("list the topics: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// TopicEntry is what was read of one topic.
type TopicEntry struct {
	Name string
	TopicAssignment
	ZkVersion int32
	// Err is a *MalformedError, or wraps kerr.UnknownTopicOrPartition if there is no
	// such topic. Nothing else is set then.
	Err error
}

// TopicAssignments reads the assignments of topics, pipelined, in the order of
// names. w, if not nil, is armed at each topic that exists and fires when its
// assignment changes.
func (c *Client) TopicAssignments(ctx context.Context, names []string, w *session.Watch) ([]TopicEntry, error) {
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = TopicPath(name)
	}
	entries := make([]TopicEntry, len(names))
	for i, r := range c.gets(ctx, paths, w) {
		e := &entries[i]
		e.Name = names[i]
		switch {
		case errors.Is(r.Err, session.ErrNoNode):
			e.Err = fmt.Errorf("topic %s: %w", names[i], kerr.UnknownTopicOrPartition)
		case r.Err != nil:
			return nil, fmt.Errorf("read the assignment of topic %s: %w", names[i], r.Err)
		default:
			e.TopicAssignment, e.Err = DecodeTopicAssignment(names[i], r.Data)
			e.ZkVersion = r.Stat.Version
		}
	}
	return entries, nil
}

// CreateTopic writes a topic's configuration and the topic itself, whose appearance
// tells the controller, in one multi: the controller and the replicas read the
// configuration as soon as they see the topic, and of two that create a topic at once
// the slower must not leave its configuration to the other's. The error wraps
// kerr.TopicAlreadyExists if there is one of that name. See SetConfig for
// ErrNoController.
func (c *Client) CreateTopic(ctx context.Context, name string, assignment TopicAssignment, config map[string]string) error {
	if err := protocol.ValidateTopicName(name); err != nil {
		return err
	}
	data, err := assignment.Encode()
	if err != nil {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	values, err := EncodeConfig(config)
	if err != nil {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	_, err = c.do1(ctx, session.Exists(TopicPath(name), nil))
	if err == nil {
		return fmt.Errorf("create topic %s: %w", name, kerr.TopicAlreadyExists)
	}
	if errors.Is(err, session.ErrNoNode) {
		err = c.createTopic(ctx, name, data, values)
	}
	if !errors.Is(err, session.ErrNodeExists) {
		if err != nil {
			return fmt.Errorf("create topic %s: %w", name, err)
		}
		return nil
	}
	// Either another was faster, or this is the answer to the second copy of a request
	// whose first copy succeeded. The topic's random id tells them apart; without one
	// only equal data does.
	r, err := c.do1(ctx, session.Get(TopicPath(name), nil))
	if err == nil {
		stored, _ := DecodeTopicAssignment(name, r.Data)
		if bytes.Equal(r.Data, data) || !assignment.ID.IsZero() && stored.ID == assignment.ID {
			return nil
		}
	}
	if err != nil && !errors.Is(err, session.ErrNoNode) {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	return fmt.Errorf("create topic %s: %w", name, kerr.TopicAlreadyExists)
}

// createTopic is the multi of CreateTopic. The error wraps session.ErrNodeExists if the
// topic exists.
func (c *Client) createTopic(ctx context.Context, name string, data, config []byte) error {
	path := TopicConfig(name).Path()
	configure := session.Create(path, config, session.Persistent)
	for {
		controllerVersion, err := c.electedController(ctx)
		if err != nil {
			return err
		}
		r, err := c.do1(ctx, session.Multi(
			session.Check(ControllerPath, controllerVersion),
			configure,
			session.Create(TopicPath(name), data, session.Persistent),
		))
		if err == nil || len(r.Multi) != 3 {
			return err
		}
		election, configured := r.Multi[0].Err, r.Multi[1].Err
		switch {
		case errors.Is(election, session.ErrNoNode), errors.Is(election, session.ErrBadVersion):
			continue // an election in between
		case errors.Is(configured, session.ErrNodeExists):
			// Left by an earlier topic of this name, or set before there was one.
			configure = session.Set(path, config, session.AnyVersion)
			continue
		case errors.Is(configured, session.ErrNoNode):
			configure = session.Create(path, config, session.Persistent)
			err = c.ensurePath(ctx, parent(path))
		case errors.Is(err, session.ErrNoNode):
			err = c.ensurePath(ctx, TopicsPath)
		}
		if err != nil {
			return err
		}
	}
}

// UpdateTopic changes a topic's assignment: edit gets what stands there and changes
// it in place. The write is conditional on the version read and the whole is
// repeated when somebody else wrote in between, so that edit may be called more than
// once; Kafka's own brokers overwrite blindly. An error of edit ends it.
func (c *Client) UpdateTopic(ctx context.Context, name string, edit func(*TopicAssignment) error) error {
	for {
		entries, err := c.TopicAssignments(ctx, []string{name}, nil)
		if err != nil {
			return err
		}
		e := entries[0]
		if e.Err != nil {
			return e.Err
		}
		if err := edit(&e.TopicAssignment); err != nil {
			return err
		}
		data, err := e.TopicAssignment.Encode()
		if err != nil {
			return fmt.Errorf("topic %s: %w", name, err)
		}
		r, err := c.do1(ctx, session.Set(TopicPath(name), data, e.ZkVersion))
		if errors.Is(err, session.ErrBadVersion) {
			if !r.Resent {
				continue
			}
			// Our own write may have been answered into a lost connection.
			if now, err := c.do1(ctx, session.Get(TopicPath(name), nil)); err != nil || !bytes.Equal(now.Data, data) {
				continue
			}
			return nil
		}
		if errors.Is(err, session.ErrNoNode) {
			return fmt.Errorf("topic %s: %w", name, kerr.UnknownTopicOrPartition)
		}
		if err != nil {
			return fmt.Errorf("write the assignment of topic %s: %w", name, err)
		}
		return nil
	}
}

// SetTopicAssignment overwrites a topic's assignment as the controller. It does not
// judge it: what is written is what was read, and a topic without partitions, say,
// must not cost the controller its place.
func (c *Client) SetTopicAssignment(ctx context.Context, claim Claim, name string, assignment TopicAssignment) error {
	data, err := assignment.encode()
	if err == nil {
		_, err = c.fenced1(ctx, claim, session.Set(TopicPath(name), data, session.AnyVersion))
	}
	if err != nil {
		return fmt.Errorf("write the assignment of topic %s: %w", name, err)
	}
	return nil
}
