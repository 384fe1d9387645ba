package protocol

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// MaxTopicNameLength is Kafka's limit: with a partition number and the suffix
// of a directory that waits for its deletion, a file name must stay within 255
// bytes.
const MaxTopicNameLength = 249

// Names of the topics that the broker itself writes.
const (
	ConsumerOffsetsTopic  = "__consumer_offsets"
	TransactionStateTopic = "__transaction_state"
)

// TopicPartition names one partition of one topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String returns "topic-3", which is also the name of the partition's
// directory.
func (tp TopicPartition) String() string {
	return tp.Topic + "-" + strconv.FormatInt(int64(tp.Partition), 10)
}

// Compare orders by topic, then by partition number.
func (tp TopicPartition) Compare(other TopicPartition) int {
	if c := strings.Compare(tp.Topic, other.Topic); c != 0 {
		return c
	}
	switch {
	case tp.Partition < other.Partition:
		return -1
	case tp.Partition > other.Partition:
		return 1
	}
	return 0
}

// ParseTopicPartitionDir reverses TopicPartition.String. It splits at the last
// '-', because a topic's name may contain some; ok is false for anything that
// is not the name of a partition.
func ParseTopicPartitionDir(name string) (tp TopicPartition, ok bool) {
	i := strings.LastIndexByte(name, '-')
	if i <= 0 || i == len(name)-1 {
		return TopicPartition{}, false
	}
	digits := name[i+1:]
	if digits[0] < '0' || digits[0] > '9' { // ParseInt would accept a sign
		return TopicPartition{}, false
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil {
		return TopicPartition{}, false
	}
	return TopicPartition{Topic: name[:i], Partition: int32(n)}, true
}

// ValidateTopicName checks a topic's name against Kafka's rules: 1 to 249 ASCII
// letters, digits, '.', '_' and '-', and neither "." nor "..". The error wraps
// kerr.InvalidTopicException.
func ValidateTopicName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("a topic's name cannot be empty: %w", kerr.InvalidTopicException)
	case name == "." || name == "..":
		return fmt.Errorf("a topic cannot be named %q: %w", name, kerr.InvalidTopicException)
	case len(name) > MaxTopicNameLength:
		return fmt.Errorf("topic name of %d characters, at most %d are allowed: %w", len(name), MaxTopicNameLength, kerr.InvalidTopicException)
	}
	for i := range len(name) {
		if !isTopicNameByte(name[i]) {
			return fmt.Errorf("topic name %q contains a character other than ASCII alphanumerics, '.', '_' and '-': %w", name, kerr.InvalidTopicException)
		}
	}
	return nil
}

func isTopicNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}

// TopicsCollide reports whether two names cannot exist side by side. Kafka
// replaces '.' by '_' in the names of its metrics and therefore refuses a topic
// that differs from another in nothing else.
func TopicsCollide(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		x, y := a[i], b[i]
		if x == '.' {
			x = '_'
		}
		if y == '.' {
			y = '_'
		}
		if x != y {
			return false
		}
	}
	return true
}

// IsInternalTopic reports whether the broker itself owns the topic's content;
// clients may read it but not produce to it.
func IsInternalTopic(name string) bool {
	return name == ConsumerOffsetsTopic || name == TransactionStateTopic
}
