package group

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
	f := fields{b: metadata}
	f.i16()
	for n := f.count(); n > 0 && !f.failed; n-- {
		if topic := f.string(); !f.failed {
			s[topic] = struct{}{}
		}
	}
	if n := f.length(true); n != -1 {
		f.take(n) // user data
	}
	return !f.failed
}

// contains reports whether a topic is subscribed to, as far as is known.
func (s topicSet) contains(topic string) bool {
	if s == nil {
		return true
	}
	_, ok := s[topic]
	return ok
}
