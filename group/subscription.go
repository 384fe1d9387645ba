package group

import "github.com/gracchus-mq/gracchus/statelog"

// consumerProtocolType is the protocol type of consumers, whose metadata alone the
// broker looks into.
const consumerProtocolType = "consumer"

// topicSet are the topics that a group's members have subscribed to. It is nil if
// they are not known.
type topicSet map[string]struct{}

// addSubscription adds the topics of a consumer's metadata, of which it reads what is
// common to all versions: version i16, topics, user data. It returns false if the
// metadata is malformed.
func (s topicSet) addSubscription(metadata []byte) bool {
	f := statelog.Fields{B: metadata}
	f.Int16()
	for n := f.Count(); n > 0 && !f.Failed; n-- {
		if topic := f.String(); !f.Failed {
			s[topic] = struct{}{}
		}
	}
	f.NullableBytes() // user data
	return !f.Failed
}

// contains reports whether a topic is subscribed to, as far as is known.
func (s topicSet) contains(topic string) bool {
	if s == nil {
		return true
	}
	_, ok := s[topic]
	return ok
}
