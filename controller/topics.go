package controller

import (
	"errors"
	"slices"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
	"github.com/twmb/franz-go/pkg/kerr"
)

// readTopics compares the list of topics with what was known. What it does beyond
// reading the list is in proportion to what is new.
func (t *term) readTopics() error {
	names, err := t.zk.Topics(t.ctx, t.watch.topics)
	if err != nil {
		return err
	}
	listed := make(map[string]bool, len(names))
	var fresh []string
	for _, name := range names {
		listed[name] = true
		if _, known := t.st.topics[name]; !known && !t.unreadable[name] {
			fresh = append(fresh, name)
		}
	}
	for name := range t.st.topics {
		if !listed[name] {
			// This controller removes a topic from ZooKeeper and from its state in one go.
			t.logger.Warn("a topic's znode was removed by somebody else", "topic", name)
			t.st.removeTopic(name)
		}
	}
	for name := range t.unreadable {
		if !listed[name] {
			delete(t.unreadable, name)
		}
	}
	added, err := t.addTopics(fresh)
	if err != nil {
		return err
	}
	return t.createStates(added)
}

// addTopics reads assignments and adds what is in them. Topics from before Kafka 2.8
// get their id here.
func (t *term) addTopics(names []string) (added []*partition, err error) {
	entries, err := t.zk.TopicAssignments(t.ctx, names, t.watch.topicData)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		switch {
		case e.Err == nil:
		case errors.Is(e.Err, kerr.UnknownTopicOrPartition):
			continue // deleted since it was listed
		default:
			t.logger.Error("a topic's znode cannot be read; the topic is left alone", "topic", e.Name, "error", e.Err)
			t.unreadable[e.Name] = true
			continue
		}
		if e.ID.IsZero() {
			e.ID = protocol.NewTopicID()
			if err := t.zk.SetTopicAssignment(t.ctx, t.claim, e.Name, e.TopicAssignment); err != nil {
				return nil, err
			}
		}
		added = append(added, t.st.addPartitions(e.Name, e.TopicAssignment)...)
	}
	return added, nil
}

// readAssignments looks at topics whose znode has changed: they may have been
// expanded, or replaced by another of the same name.
func (t *term) readAssignments(changed map[string]bool) error {
	names := make([]string, 0, len(changed))
	for name := range changed {
		names = append(names, name)
	}
	slices.Sort(names)
	entries, err := t.zk.TopicAssignments(t.ctx, names, t.watch.topicData)
	if err != nil {
		return err
	}
	var added []*partition
	for _, e := range entries {
		known := t.st.topics[e.Name]
		switch {
		case errors.Is(e.Err, kerr.UnknownTopicOrPartition):
			continue // the list of topics tells
		case e.Err != nil:
			t.logger.Error("a topic's znode cannot be read any more; what it said before holds", "topic", e.Name, "error", e.Err)
			continue
		case known == nil:
			delete(t.unreadable, e.Name) // somebody has repaired it
			fresh, err := t.addTopics([]string{e.Name})
			if err != nil {
				return err
			}
			added = append(added, fresh...)
			continue
		case !e.ID.IsZero() && e.ID != known.id:
			t.logger.Warn("a topic was replaced behind the controller's back", "topic", e.Name, "id", e.ID, "earlier id", known.id)
			t.st.removeTopic(e.Name)
			fresh, err := t.addTopics([]string{e.Name})
			if err != nil {
				return err
			}
			added = append(added, fresh...)
			continue
		case t.st.deletions[e.Name] != nil:
			if err := t.revertExpansion(known, e.TopicAssignment); err != nil {
				return err
			}
			continue
		}
		if e.ID.IsZero() {
			// A tool from before Kafka 2.8 has overwritten the node and lost the id.
			e.ID = known.id
			if err := t.zk.SetTopicAssignment(t.ctx, t.claim, e.Name, e.TopicAssignment); err != nil {
				return err
			}
		}
		added = append(added, t.st.addPartitions(e.Name, e.TopicAssignment)...)
	}
	if len(added) > 0 {
		t.logger.Debug("topics were expanded", "partitions", len(added))
	}
	return t.createStates(added)
}

// revertExpansion takes partitions out again that were added to a topic while it is
// being deleted: they would never get a leader, and outlive the topic.
func (t *term) revertExpansion(known *topic, found zkmeta.TopicAssignment) error {
	kept := zkmeta.TopicAssignment{ID: known.id, Partitions: map[int32]zkmeta.ReplicaAssignment{}}
	for number, p := range known.partitions {
		kept.Partitions[number] = p.assignment
	}
	if len(found.Partitions) <= len(kept.Partitions) {
		return nil
	}
	t.logger.Warn("partitions were added to a topic that is being deleted, and are taken out", "topic", known.name)
	return t.zk.SetTopicAssignment(t.ctx, t.claim, known.name, kept)
}
