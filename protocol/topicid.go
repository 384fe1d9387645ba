package protocol

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
)

// TopicID identifies one incarnation of a topic: a topic that is deleted and
// created again gets another one (KIP-516). The zero value means "none".
type TopicID [16]byte

// topicIDOne is the id that Kafka keeps for KRaft's metadata topic.
var topicIDOne = TopicID{15: 1}

// NewTopicID returns a random id as Kafka's Uuid.randomUuid makes them: a UUID
// of version 4 that is neither zero nor one, and whose text does not begin with
// '-', which would look like an option on a command line.
func NewTopicID() TopicID {
	for {
		var id TopicID
		rand.Read(id[:])          // never fails: it ends the process instead
		id[6] = id[6]&0x0f | 4<<4 // version 4
		id[8] = id[8]&0x3f | 2<<6 // the variant of RFC 4122
		if id.IsZero() || id == topicIDOne || id.String()[0] == '-' {
			continue
		}
		return id
	}
}

// ParseTopicID reads the 22 characters that String returns.
func ParseTopicID(s string) (TopicID, error) {
	var id TopicID
	if len(s) != 22 {
		return TopicID{}, fmt.Errorf("topic id %q has %d characters instead of 22", s, len(s))
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return TopicID{}, fmt.Errorf("topic id %q is not base64url: %w", s, err)
	}
	copy(id[:], raw)
	return id, nil
}

// String returns the id in base64url without padding, 22 characters, as
// ZooKeeper and partition.metadata hold it.
func (id TopicID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// IsZero reports whether there is no id.
func (id TopicID) IsZero() bool { return id == TopicID{} }
