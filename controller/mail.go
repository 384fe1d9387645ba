package controller

import (
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
)

// news is what brokers are told of one partition. It is immutable and shared by all
// outboxes.
type news struct {
	protocol.TopicPartition
	topicID    protocol.TopicID
	state      zkmeta.PartitionState
	zkVersion  int32
	assignment zkmeta.ReplicaAssignment
	offline    []int32 // replicas that do not live
	deleting   bool    // the topic is being deleted
}

// deletionEpoch is the leader epoch of StopReplica that stands above all others.
const deletionEpoch = -2

// role is one partition in a LeaderAndIsr request.
type role struct {
	*news
	isNew bool // the broker may make the replica, wherever it likes
}

// stop is one partition in a StopReplica request.
type stop struct {
	leaderEpoch int32
	remove      bool // the replica's log goes, too
	wasNew      bool // what the broker has not heard yet began with isNew
}

// newsKey tells topics of one name apart, so that the end of one is not taken for
// the beginning of the next.
type newsKey struct {
	protocol.TopicPartition
	topicID protocol.TopicID
}

// mail is what one broker has yet to be told: the newest state per partition,
// whatever happened in between. A broker that does not answer costs memory for each
// partition at most once, those deleted meanwhile included.
//
// It is a plain data structure; outbox guards it.
type mail struct {
	brokers bool // the set of live brokers has changed
	roles   pending[protocol.TopicPartition, role]
	gone    pending[newsKey, *news] // UpdateMetadata for partitions being deleted
	states  pending[newsKey, *news] // UpdateMetadata for all others
	stops   pending[protocol.TopicPartition, stop]
	last    kind // of the parcel that was taken last
}

// addRole has the broker told its part in a partition. It takes back a stop that
// waits, unless that removes the replica: nothing comes after a removal.
func (m *mail) addRole(n *news, isNew bool) {
	if s, waiting := m.stops.get(n.TopicPartition); waiting {
		if s.remove {
			return
		}
		isNew = isNew || s.wasNew
		m.stops.remove(n.TopicPartition)
	}
	r := role{n, isNew}
	if older, waiting := m.roles.get(n.TopicPartition); waiting {
		r = newerRole(older, r)
	}
	m.roles.put(n.TopicPartition, r)
}

// addState has the broker told of a partition that it may or may not host.
func (m *mail) addState(n *news) {
	key := newsKey{n.TopicPartition, n.topicID}
	if n.deleting {
		m.states.remove(key)
		m.gone.put(key, n)
		return
	}
	if _, deleted := m.gone.get(key); !deleted {
		m.states.put(key, n)
	}
}

// addStop has the broker end its part in a partition.
func (m *mail) addStop(tp protocol.TopicPartition, s stop) {
	if r, waiting := m.roles.get(tp); waiting {
		s.wasNew = r.isNew
		m.roles.remove(tp)
	}
	if older, waiting := m.stops.get(tp); waiting {
		s = newerStop(older, s)
	}
	m.stops.put(tp, s)
}

// newerRole is the newer of two roles; a new replica stays new until the broker has
// heard of it.
func newerRole(older, newer role) role {
	newer.isNew = newer.isNew || older.isNew && older.topicID == newer.topicID
	return newer
}

// newerStop is the newer of two stops; a removal stays one until it is acknowledged.
func newerStop(older, newer stop) stop {
	newer.wasNew = newer.wasNew || older.wasNew
	if older.remove && !newer.remove {
		newer.remove, newer.leaderEpoch = true, older.leaderEpoch
	}
	return newer
}

// kind is the kind of a request to a broker.
type kind int

const (
	kindNone    kind = iota
	kindBrokers      // UpdateMetadata that must go first: who lives, what is deleted
	kindLeaderAndISR
	kindMetadata
	kindStop
)

// parcelSize bounds the partitions of one request: what a broker can make logs for
// well within the time that a request may take.
const parcelSize = 1000

// parcel is the content of one request, taken out of the mail.
type parcel struct {
	kind   kind
	roles  []entry[protocol.TopicPartition, role]
	states []entry[newsKey, *news]
	stops  []entry[protocol.TopicPartition, stop]
}

// take removes the content of the next request; a parcel of kindNone says that there
// is none. First goes who lives, since a follower must know its leader's address,
// and what is deleted, since a topic of that name may follow. Then the kinds take
// turns in the order LeaderAndIsr, UpdateMetadata, StopReplica: a broker leads
// before others hear of it, and a long line of one kind does not hold up the others.
// UpdateMetadata never overtakes LeaderAndIsr for the same partition: it takes
// states only up to one whose role still waits, which may have come while the
// LeaderAndIsr before was under way.
func (m *mail) take() parcel {
	if m.brokers || m.gone.len() > 0 {
		m.brokers = false
		return parcel{kind: kindBrokers, states: m.gone.take(parcelSize)}
	}
	for range 3 {
		m.last++
		if m.last > kindStop || m.last < kindLeaderAndISR {
			m.last = kindLeaderAndISR
		}
		p := parcel{kind: m.last}
		switch m.last {
		case kindLeaderAndISR:
			p.roles = m.roles.take(parcelSize)
		case kindMetadata:
			p.states = m.states.takeWhile(parcelSize, func(k newsKey) bool {
				_, waiting := m.roles.get(k.TopicPartition)
				return !waiting
			})
		case kindStop:
			p.stops = m.stops.take(parcelSize)
		}
		if len(p.roles)+len(p.states)+len(p.stops) > 0 {
			return p
		}
	}
	return parcel{}
}

// putBack returns what could not be delivered. What was added meanwhile is newer.
func (m *mail) putBack(p parcel) {
	switch p.kind {
	case kindBrokers:
		m.brokers = true
		m.gone.putFront(p.states, func(_, newer *news) *news { return newer })
	case kindLeaderAndISR:
		kept := p.roles[:0]
		for _, e := range p.roles {
			if s, waiting := m.stops.get(e.key); waiting {
				s.wasNew = s.wasNew || e.value.isNew
				m.stops.put(e.key, s)
				continue
			}
			kept = append(kept, e)
		}
		m.roles.putFront(kept, newerRole)
		m.last = kindStop // so that it is their turn again
	case kindMetadata:
		kept := p.states[:0]
		for _, e := range p.states {
			if _, deleted := m.gone.get(e.key); !deleted {
				kept = append(kept, e)
			}
		}
		m.states.putFront(kept, func(_, newer *news) *news { return newer })
		m.last = kindLeaderAndISR
	case kindStop:
		kept := p.stops[:0]
		for _, e := range p.stops {
			r, superseded := m.roles.get(e.key)
			if superseded && !e.value.remove {
				r.isNew = r.isNew || e.value.wasNew
				m.roles.put(e.key, r)
				continue
			}
			m.roles.remove(e.key)
			kept = append(kept, e)
		}
		m.stops.putFront(kept, newerStop)
		m.last = kindMetadata
	}
}
