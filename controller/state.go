package controller

import (
	"slices"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
)

// status is where a partition stands.
type status int

const (
	statusNew        status = iota // has no state in ZooKeeper yet
	statusOnline                   // has a live leader
	statusOffline                  // has no live leader
	statusDeleting                 // its topic goes; nothing is elected any more
	statusUnreadable               // its state does not parse, and is left alone
)

func (s status) String() string {
	return [...]string{"new", "online", "offline", "deleting", "unreadable"}[s]
}

// partition is what the controller knows of one partition.
type partition struct {
	protocol.TopicPartition
	topic      *topic
	assignment zkmeta.ReplicaAssignment
	status     status
	state      zkmeta.PartitionState // zero unless stored
	zkVersion  int32                 // of the state
	stored     bool                  // it has a state in ZooKeeper
}

// preferred is the replica that should lead, or zkmeta.NoLeader if the assignment is
// empty.
func (p *partition) preferred() int32 {
	if len(p.assignment.Replicas) == 0 {
		return zkmeta.NoLeader
	}
	return p.assignment.Replicas[0]
}

type topic struct {
	name       string
	id         protocol.TopicID
	partitions map[int32]*partition
}

// ordered returns the topic's partitions by number.
func (t *topic) ordered() []*partition {
	all := make([]*partition, 0, len(t.partitions))
	for _, p := range t.partitions {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *partition) int { return int(a.Partition) - int(b.Partition) })
	return all
}

// broker is one live registration.
type broker struct {
	zkmeta.LiveBroker
	// shuttingDown is set from the broker's request for a controlled shutdown until its
	// registration ends: it serves what it still leads, and gets nothing new.
	shuttingDown bool
	// offline are the replicas whose log directory failed.
	offline map[protocol.TopicPartition]bool
	outbox  *outbox // nil if the broker does not listen where the controller sends
}

// state is what the controller knows of the cluster. It belongs to the loop; what
// changes it is plain code that neither waits nor reads a clock.
type state struct {
	brokers map[int32]*broker
	topics  map[string]*topic
	byID    map[protocol.TopicID]*topic
	// leaderless are the partitions that are new or offline: what a broker that comes
	// may lead, found without looking at all others.
	leaderless map[protocol.TopicPartition]*partition
	deletions  map[string]*deletion
}

func newState() *state {
	return &state{
		brokers:    map[int32]*broker{},
		topics:     map[string]*topic{},
		byID:       map[protocol.TopicID]*topic{},
		leaderless: map[protocol.TopicPartition]*partition{},
		deletions:  map[string]*deletion{},
	}
}

// alive says whether a replica lives: its broker does, and its log directory.
func (s *state) alive(id int32, tp protocol.TopicPartition) bool {
	b, live := s.brokers[id]
	return live && !b.offline[tp]
}

// online says whether a replica lives and its broker means to stay.
func (s *state) online(id int32, tp protocol.TopicPartition) bool {
	return s.alive(id, tp) && !s.leaving(id)
}

// leaving says whether a broker lives and has asked for a controlled shutdown.
func (s *state) leaving(id int32) bool {
	b, live := s.brokers[id]
	return live && b.shuttingDown
}

// staying says whether a broker lives and means to stay.
func (s *state) staying(id int32) bool {
	b, live := s.brokers[id]
	return live && !b.shuttingDown
}

// stayingIn is staying of a broker in a registration, −1 for any.
func (s *state) stayingIn(id int32, epoch int64) bool {
	return s.staying(id) && (epoch < 0 || epoch == s.brokers[id].Epoch)
}

// liveReplica is online for the replicas of one partition.
func (s *state) liveReplica(p *partition) func(int32) bool {
	return func(id int32) bool { return s.online(id, p.TopicPartition) }
}

// addPartitions adds those partitions of an assignment that are not known yet and
// returns them, by number. They are new.
func (s *state) addPartitions(name string, a zkmeta.TopicAssignment) []*partition {
	t, known := s.topics[name]
	if !known {
		t = &topic{name: name, id: a.ID, partitions: make(map[int32]*partition, len(a.Partitions))}
		s.topics[name] = t
		s.byID[t.id] = t
	}
	var added []*partition
	for number, assignment := range a.Partitions {
		if _, known := t.partitions[number]; known {
			continue
		}
		p := &partition{
			TopicPartition: protocol.TopicPartition{Topic: name, Partition: number},
			topic:          t,
			assignment:     assignment,
		}
		t.partitions[number] = p
		s.leaderless[p.TopicPartition] = p
		added = append(added, p)
	}
	slices.SortFunc(added, func(a, b *partition) int { return int(a.Partition) - int(b.Partition) })
	return added
}

// setState records the state that stands in ZooKeeper, and with it the status.
func (s *state) setState(p *partition, ps zkmeta.PartitionState, zkVersion int32) {
	p.state, p.zkVersion, p.stored = ps, zkVersion, true
	if p.status == statusDeleting {
		return
	}
	if ps.Leader != zkmeta.NoLeader && s.alive(ps.Leader, p.TopicPartition) {
		p.status = statusOnline
		delete(s.leaderless, p.TopicPartition)
	} else {
		s.setOffline(p)
	}
}

func (s *state) setOffline(p *partition) {
	p.status = statusOffline
	s.leaderless[p.TopicPartition] = p
}

// retire takes a partition out of all elections.
func (s *state) retire(p *partition, why status) {
	p.status = why
	delete(s.leaderless, p.TopicPartition)
}

// removeTopic forgets a topic.
func (s *state) removeTopic(name string) {
	t, known := s.topics[name]
	if !known {
		return
	}
	for _, p := range t.partitions {
		delete(s.leaderless, p.TopicPartition)
		for _, id := range p.assignment.Replicas {
			if b := s.brokers[id]; b != nil {
				delete(b.offline, p.TopicPartition)
			}
		}
	}
	delete(s.topics, name)
	delete(s.byID, t.id)
	delete(s.deletions, name)
}

func (s *state) partition(tp protocol.TopicPartition) (*partition, bool) {
	t, known := s.topics[tp.Topic]
	if !known {
		return nil, false
	}
	p, known := t.partitions[tp.Partition]
	return p, known
}

// selectPartitions returns the partitions of all topics that fit, ordered by topic and number.
func (s *state) selectPartitions(fit func(*partition) bool) []*partition {
	var all []*partition
	for _, t := range s.topics {
		for _, p := range t.partitions {
			if fit(p) {
				all = append(all, p)
			}
		}
	}
	sortPartitions(all)
	return all
}

// electable returns the partitions without leader, ordered.
func (s *state) electable() []*partition {
	all := make([]*partition, 0, len(s.leaderless))
	for _, p := range s.leaderless {
		all = append(all, p)
	}
	sortPartitions(all)
	return all
}

func sortPartitions(all []*partition) {
	slices.SortFunc(all, func(a, b *partition) int { return a.TopicPartition.Compare(b.TopicPartition) })
}

// newsOf is what brokers are told of a partition now.
func (s *state) newsOf(p *partition) *news {
	return &news{
		TopicPartition: p.TopicPartition,
		topicID:        p.topic.id,
		state:          p.state,
		zkVersion:      p.zkVersion,
		assignment:     p.assignment,
		offline:        filter(p.assignment.Replicas, func(id int32) bool { return !s.online(id, p.TopicPartition) }),
		deleting:       s.deletions[p.Topic] != nil,
	}
}

// liveBrokers lists the registrations, by id.
func (s *state) liveBrokers() []zkmeta.LiveBroker {
	all := make([]zkmeta.LiveBroker, 0, len(s.brokers))
	for _, b := range s.brokers {
		all = append(all, b.LiveBroker)
	}
	slices.SortFunc(all, func(a, b zkmeta.LiveBroker) int { return int(a.ID) - int(b.ID) })
	return all
}
