package topics

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/twmb/franz-go/pkg/kerr"
)

// ValidateName is protocol.ValidateTopicName with Kafka's words for the client.
func ValidateName(name string) error {
	if protocol.ValidateTopicName(name) == nil {
		return nil
	}
	reason := "'" + name + "' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
	switch {
	case name == "":
		reason = "the empty string is not allowed"
	case name == "." || name == "..":
		reason = "'" + name + "' is not allowed"
	case len(name) > protocol.MaxTopicNameLength:
		reason = fmt.Sprintf("the length of '%s' is longer than the max allowed length %d", name, protocol.MaxTopicNameLength)
	}
	return refuse(kerr.InvalidTopicException, "Topic name is invalid: %s", reason)
}

// checkName refuses a name that is invalid, taken, about to become free, or so much
// like another that the two would share their metrics.
func (m *Manager) checkName(ctx context.Context, name string) error {
	if err := ValidateName(name); err != nil {
		return err
	}
	deleting, err := m.zk.DeleteTopicRequests(ctx, nil)
	if err != nil {
		return err
	}
	if slices.Contains(deleting, name) {
		return refuse(kerr.TopicAlreadyExists, "Topic '%s' is marked for deletion.", name)
	}
	if !strings.ContainsAny(name, "._") {
		return nil // whether it exists is seen when it is created
	}
	existing, err := m.zk.Topics(ctx, nil)
	if err != nil {
		return err
	}
	var colliding []string
	for _, other := range existing {
		if other == name {
			return alreadyExists(name)
		}
		if protocol.TopicsCollide(name, other) {
			colliding = append(colliding, other)
		}
	}
	if len(colliding) > 0 {
		return refuse(kerr.InvalidTopicException, "Topic '%s' collides with existing topics: %s", name, strings.Join(colliding, ", "))
	}
	return nil
}

// checkAssignment refuses a placement by hand that is not one of partitions 0 to n-1
// with equally many replicas each, all on different brokers. As in Kafka the brokers
// need not live.
func checkAssignment(by map[int32][]int32) ([][]int32, error) {
	var factors []int
	for _, replicas := range by {
		if !slices.Contains(factors, len(replicas)) {
			factors = append(factors, len(replicas))
		}
	}
	if len(factors) != 1 {
		return nil, refuse(kerr.InvalidReplicaAssignment, "All partitions should have the same number of replicas")
	}
	for _, replicas := range by {
		for i, id := range replicas {
			if slices.Contains(replicas[:i], id) {
				return nil, refuse(kerr.InvalidReplicaAssignment, "Duplicate replica assignment found: %s", assignmentText(by))
			}
		}
	}
	assignment := make([][]int32, len(by))
	for number, replicas := range by {
		if number < 0 || int(number) >= len(by) {
			return nil, refuse(kerr.InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
		}
		// Kafka takes these two, and its controller then chokes on the topic.
		if len(replicas) == 0 {
			return nil, refuse(kerr.InvalidReplicaAssignment, "Cannot have replication factor of 0 for partition id %d.", number)
		}
		if slices.Min(replicas) < 0 {
			return nil, refuse(kerr.InvalidReplicaAssignment, "Invalid broker id in replica list: %s", joinIDs(replicas))
		}
		assignment[number] = replicas
	}
	return assignment, nil
}

func assignmentText(by map[int32][]int32) string {
	var numbers []int32
	for number := range by {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	parts := make([]string, len(numbers))
	for i, number := range numbers {
		parts[i] = fmt.Sprintf("%d -> ArrayBuffer(%s)", number, joinIDs(by[number]))
	}
	return "HashMap(" + strings.Join(parts, ", ") + ")"
}

func joinIDs(ids []int32) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = fmt.Sprint(id)
	}
	return strings.Join(texts, ", ")
}

// configValues turns a list of settings into a map.
func configValues(ops []ConfigOp) (map[string]string, error) {
	values := make(map[string]string, len(ops))
	var nulls []string
	for _, o := range ops {
		if o.Value == nil {
			nulls = append(nulls, o.Name)
			continue
		}
		values[o.Name] = *o.Value
	}
	if len(nulls) > 0 {
		return nil, refuse(kerr.InvalidConfig, "Null value not supported for topic configs: %s", strings.Join(nulls, ","))
	}
	return values, nil
}
