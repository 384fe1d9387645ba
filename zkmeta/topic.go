package zkmeta

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/gracchus-mq/gracchus/protocol"
)

// TopicsPath is the parent of the topics' nodes.
const TopicsPath = "/brokers/topics"

// TopicPath is where the assignment of a topic stands. Topic names are written
// raw: the characters that Kafka allows in them need no encoding.
func TopicPath(topic string) string { return TopicsPath + "/" + topic }

// TopicPartitionsPath is the parent of the topic's partitions.
func TopicPartitionsPath(topic string) string { return TopicPath(topic) + "/partitions" }

// TopicAssignment is the content of /brokers/topics/T. Writing it replaces the
// whole node: whoever changes one partition must carry over all others, and the
// id, or the controller sees another topic.
type TopicAssignment struct {
	// ID is zero if the node was written before Kafka 2.8; the controller then
	// gives one.
	ID         protocol.TopicID
	Partitions map[int32]ReplicaAssignment
}

// ReplicaAssignment says which brokers hold one partition. While a reassignment
// runs Replicas is the full set, the target first, then those of the origin that
// are not in the target.
type ReplicaAssignment struct {
	Replicas []int32
	Adding   []int32 // subset of Replicas, empty unless reassigning
	Removing []int32 // subset of Replicas, empty unless reassigning
}

// Reassigning tells whether the partition is on its way to other brokers.
func (r ReplicaAssignment) Reassigning() bool { return len(r.Adding)+len(r.Removing) > 0 }

// Target returns the replicas that will remain: all but those being removed.
func (r ReplicaAssignment) Target() []int32 { return without(r.Replicas, r.Removing) }

// Origin returns the replicas from before the reassignment: all but those being
// added.
func (r ReplicaAssignment) Origin() []int32 { return without(r.Replicas, r.Adding) }

func without(ids, drop []int32) []int32 {
	return slices.DeleteFunc(slices.Clone(ids), func(id int32) bool { return slices.Contains(drop, id) })
}

// NewTopicAssignment makes the assignment of a topic whose partition i has the
// replicas at index i.
func NewTopicAssignment(id protocol.TopicID, replicas [][]int32) TopicAssignment {
	t := TopicAssignment{ID: id, Partitions: make(map[int32]ReplicaAssignment, len(replicas))}
	for p, r := range replicas {
		t.Partitions[int32(p)] = ReplicaAssignment{Replicas: r}
	}
	return t
}

func (t TopicAssignment) validate() error {
	if len(t.Partitions) == 0 {
		return errors.New("no partitions")
	}
	for p, r := range t.Partitions {
		if p < 0 {
			return fmt.Errorf("partition number %d is negative", p)
		}
		if len(r.Replicas) == 0 {
			return fmt.Errorf("partition %d has no replicas", p)
		}
		for i, id := range r.Replicas {
			if id < 0 || slices.Contains(r.Replicas[:i], id) {
				return fmt.Errorf("partition %d: replicas %v are not distinct broker ids", p, r.Replicas)
			}
		}
		for _, id := range slices.Concat(r.Adding, r.Removing) {
			if !slices.Contains(r.Replicas, id) {
				return fmt.Errorf("partition %d: %d is being added or removed but is not in %v", p, id, r.Replicas)
			}
		}
	}
	return nil
}

// Encode makes version 3 of the node's data.
func (t TopicAssignment) Encode() ([]byte, error) {
	if err := t.validate(); err != nil {
		return nil, fmt.Errorf("topic assignment: %w", err)
	}
	return t.encode()
}

// encode is Encode for what stands in a node already, and may be as odd as whoever
// wrote it left it.
func (t TopicAssignment) encode() ([]byte, error) {
	node := struct {
		Version    int                `json:"version"`
		ID         string             `json:"topic_id,omitempty"`
		Partitions map[string][]int32 `json:"partitions"`
		Adding     map[string][]int32 `json:"adding_replicas"`
		Removing   map[string][]int32 `json:"removing_replicas"`
	}{
		Version:    3,
		Partitions: make(map[string][]int32, len(t.Partitions)),
		Adding:     map[string][]int32{},
		Removing:   map[string][]int32{},
	}
	if !t.ID.IsZero() {
		node.ID = t.ID.String()
	}
	for p, r := range t.Partitions {
		key := strconv.Itoa(int(p))
		node.Partitions[key] = orEmpty(r.Replicas)
		if len(r.Adding) > 0 {
			node.Adding[key] = r.Adding
		}
		if len(r.Removing) > 0 {
			node.Removing[key] = r.Removing
		}
	}
	return encodeJSON(node)
}

// DecodeTopicAssignment reads the data of /brokers/topics/<topic>. As Kafka's
// reader it looks at the keys and not at the version: version 1 has only
// partitions, 2 (Kafka 2.4) adds the maps of partitions in motion, 3 (2.8) the
// topic's id. The error is a *MalformedError.
func DecodeTopicAssignment(topic string, data []byte) (TopicAssignment, error) {
	t, err := decodeTopicAssignment(data)
	if err != nil {
		return TopicAssignment{}, malformed(TopicPath(topic), data, err)
	}
	return t, nil
}

func decodeTopicAssignment(data []byte) (t TopicAssignment, err error) {
	o, err := decodeObject(data)
	if err != nil {
		return t, err
	}
	id, err := fieldOr(o, "topic_id", "")
	if err != nil {
		return t, err
	}
	if id != "" {
		if t.ID, err = protocol.ParseTopicID(id); err != nil {
			return t, err
		}
	}
	partitions, err := fieldOr(o, "partitions", object{})
	if err != nil {
		return t, err
	}
	adding, err := fieldOr(o, "adding_replicas", object{})
	if err != nil {
		return t, err
	}
	removing, err := fieldOr(o, "removing_replicas", object{})
	if err != nil {
		return t, err
	}
	t.Partitions = make(map[int32]ReplicaAssignment, len(partitions))
	for key := range partitions {
		p, err := strconv.ParseInt(key, 10, 32)
		if err != nil || p < 0 {
			return t, fmt.Errorf("partition %q is not a number", key)
		}
		if _, twice := t.Partitions[int32(p)]; twice {
			return t, fmt.Errorf("partition %d is there twice", p)
		}
		var r ReplicaAssignment
		if r.Replicas, err = partitions.fieldInt32s(key); err != nil {
			return t, err
		}
		if r.Adding, err = adding.optionalInt32s(key); err != nil {
			return t, err
		}
		if r.Removing, err = removing.optionalInt32s(key); err != nil {
			return t, err
		}
		t.Partitions[int32(p)] = r
	}
	return t, nil
}

// optionalInt32s decodes key into a list of ids, nil if the key is absent.
func (o object) optionalInt32s(key string) ([]int32, error) {
	if _, ok := o[key]; !ok {
		return nil, nil
	}
	return o.fieldInt32s(key)
}
