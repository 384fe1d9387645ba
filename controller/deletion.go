package controller

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/zkmeta"
)

// replicaID is one replica of one partition.
type replicaID struct {
	protocol.TopicPartition
	broker int32
}

// removal is where one replica of a topic under deletion stands.
type removal int

const (
	removalWaiting    removal = iota // nothing was asked of its broker
	removalStarted                   // its broker was told to remove it
	removalDone                      // it is gone
	removalIneligible                // its broker is dead, or could not remove it
)

// deletion is a topic on its way out. It is a pure state machine: each method is one
// event, and next says what there is to do.
//
// All replicas are removed at once. One that cannot be holds the deletion until its
// broker comes back, because the topic's znodes are what tells that broker, then, to
// remove its replica.
type deletion struct {
	topic    *topic
	begun    bool // elections and clients have let go of its partitions
	replicas map[replicaID]removal
}

func newDeletion(t *topic) *deletion {
	d := &deletion{topic: t, replicas: map[replicaID]removal{}}
	for _, p := range t.partitions {
		for _, id := range p.assignment.Replicas {
			d.replicas[replicaID{p.TopicPartition, id}] = removalWaiting
		}
	}
	return d
}

// start moves every waiting replica on: those that live are returned, to be told to
// go, and the others are ineligible.
func (d *deletion) start(online func(id int32, tp protocol.TopicPartition) bool) []replicaID {
	var remove []replicaID
	for r, at := range d.replicas {
		if at != removalWaiting {
			continue
		}
		if online(r.broker, r.TopicPartition) {
			d.replicas[r] = removalStarted
			remove = append(remove, r)
		} else {
			d.replicas[r] = removalIneligible
		}
	}
	slices.SortFunc(remove, func(a, b replicaID) int {
		if c := a.Compare(b.TopicPartition); c != 0 {
			return c
		}
		return int(a.broker) - int(b.broker)
	})
	return remove
}

// removed is the answer of a broker that was told to remove a replica.
func (d *deletion) removed(r replicaID, ok bool) {
	if d.replicas[r] != removalStarted {
		return // it answers to a question that was withdrawn
	}
	if ok {
		d.replicas[r] = removalDone
	} else {
		d.replicas[r] = removalIneligible
	}
}

// lost says that a replica does not live any more.
func (d *deletion) lost(r replicaID) {
	if at, known := d.replicas[r]; known && at != removalDone {
		d.replicas[r] = removalIneligible
	}
}

// returned says that a broker is back: what is not done is tried again.
func (d *deletion) returned(broker int32) {
	for r, at := range d.replicas {
		if r.broker == broker && at == removalIneligible {
			d.replicas[r] = removalWaiting
		}
	}
}

// done says whether no replica is left.
func (d *deletion) done() bool {
	for _, at := range d.replicas {
		if at != removalDone {
			return false
		}
	}
	return true
}

// held returns the brokers that hold the deletion up, in order.
func (d *deletion) held() []int32 {
	var ids []int32
	for r, at := range d.replicas {
		if at == removalIneligible && !slices.Contains(ids, r.broker) {
			ids = append(ids, r.broker)
		}
	}
	slices.Sort(ids)
	return ids
}

// readDeletions takes up what was asked for.
func (t *term) readDeletions() error {
	if err := t.listDeletions(); err != nil {
		return err
	}
	return t.resumeDeletions()
}

// listDeletions looks which topics are to go, and arms the watch. From then on
// nothing is elected in them.
func (t *term) listDeletions() error {
	names, err := t.zk.DeleteTopicRequests(t.ctx, t.watch.deletions)
	if err != nil {
		return err
	}
	enabled := t.cfg.Settings.Broker().Topics.DeleteEnable
	var drop []string
	for _, name := range names {
		topic, known := t.st.topics[name]
		switch {
		case !enabled, !known && !t.unreadable[name]:
			drop = append(drop, name)
		case !known:
			t.logger.Error("a topic whose znode cannot be read is not deleted", "topic", name)
		case t.st.deletions[name] == nil:
			t.st.deletions[name] = newDeletion(topic)
			for _, p := range topic.partitions {
				t.st.retire(p, statusDeleting)
			}
		}
	}
	if len(drop) == 0 {
		return nil
	}
	t.logger.Debug("requests to delete topics are dropped", "topics", drop, "delete.topic.enable", enabled)
	return t.zk.DropDeleteTopicRequests(t.ctx, t.claim, drop)
}

// resumeDeletions takes every deletion one step further, where it can go.
func (t *term) resumeDeletions() error {
	var done, begin []*deletion
	for _, d := range t.st.deletions {
		if d.done() {
			done = append(done, d)
		} else if !d.begun {
			begin = append(begin, d)
		}
	}
	slices.SortFunc(begin, compareNames)
	slices.SortFunc(done, compareNames)
	if err := t.beginDeletions(begin); err != nil {
		return err
	}
	var b batch
	for _, d := range t.st.deletions {
		for _, r := range d.start(t.st.online) {
			b.stop(r.broker, r.TopicPartition, stop{leaderEpoch: deletionEpoch, remove: true})
		}
	}
	b.post(t.st)
	return t.finishDeletions(done)
}

func compareNames(a, b *deletion) int { return strings.Compare(a.topic.name, b.topic.name) }

// beginDeletions lets go of the topics' partitions: clients are told that they are
// gone, and in ZooKeeper they have no leader any more.
func (t *term) beginDeletions(begin []*deletion) error {
	var all []*partition
	var b batch
	for _, d := range begin {
		d.begun = true
		t.logger.Debug("deleting a topic", "topic", d.topic.name)
		for _, p := range d.topic.ordered() {
			if p.stored {
				b.state(t.st, p)
				all = append(all, p)
			}
		}
	}
	b.post(t.st)
	next := func(p *partition) (zkmeta.PartitionState, bool) {
		return withoutReplicas(p.state, func(id int32) bool { return t.st.alive(id, p.TopicPartition) })
	}
	return t.change(all, next, func(*batch, *partition) {})
}

// finishDeletions removes topics of which no replica is left from ZooKeeper. Each is
// a few operations that need each other's outcome, so that several topics go side by
// side.
func (t *term) finishDeletions(done []*deletion) error {
	const parallel = 32
	errs := make([]error, len(done))
	turns := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i, d := range done {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			errs[i] = t.zk.FinishTopicDeletion(t.ctx, t.claim, d.topic.name)
		})
	}
	wg.Wait()
	for i, d := range done {
		if errs[i] == nil {
			t.logger.Info("a topic is deleted", "topic", d.topic.name)
			t.st.removeTopic(d.topic.name)
		}
	}
	return errors.Join(errs...)
}

// replicasRemoved takes in a broker's answer to the removal of replicas.
func (t *term) replicasRemoved(r receipt) {
	for tp, code := range r.stops {
		d := t.st.deletions[tp.Topic]
		if d == nil {
			continue
		}
		d.removed(replicaID{tp, r.broker}, code == 0)
		if code != 0 {
			t.logger.Warn("a broker could not remove a replica; the topic stays until the broker comes back", "partition", tp, "broker", r.broker, "code", code)
		}
	}
}

// deletionsLostReplicas holds up deletions whose replicas are gone.
func (t *term) deletionsLostReplicas(gone func(id int32, tp protocol.TopicPartition) bool) error {
	for _, d := range t.st.deletions {
		for r := range d.replicas {
			if gone(r.broker, r.TopicPartition) {
				d.lost(r)
			}
		}
		if held := d.held(); len(held) > 0 {
			t.logger.Info("the deletion of a topic waits", "topic", d.topic.name, "for brokers", held)
		}
	}
	return nil
}

// deletionsGotBrokers takes up deletions that waited for brokers.
func (t *term) deletionsGotBrokers(came []zkmeta.LiveBroker) error {
	for _, d := range t.st.deletions {
		for _, b := range came {
			d.returned(b.ID)
		}
	}
	return t.resumeDeletions()
}
