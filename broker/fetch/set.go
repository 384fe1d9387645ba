package fetch

import (
	"slices"
	"sync"

	"github.com/gracchus-mq/gracchus/protocol"
)

// topic is a topic of a set. Its partitions share it.
type topic struct {
	name       string
	id         protocol.TopicID
	partitions int // of it in the set
}

// partitionID is a partition as its set knows it.
type partitionID struct {
	topic  *topic
	number int32
}

// entry is one partition of a set. Its position in the set is its token.
type entry struct {
	partitionID // its topic is nil while the token is not used
	want        Want
	fresh       bool      // want is from the request at hand, and nobody has acted on it yet
	partition   Partition // the last one looked up; nil if that failed

	// What the client was last told, for sessions: a response leaves out
	// partitions that are still so. −1 before the first and after an error.
	highWatermark, logStart int64
}

func (e *entry) used() bool { return e.topic != nil }

func (e *entry) key() Key {
	return Key{Topic: e.topic.name, ID: e.topic.id, Partition: e.number}
}

// set is the partitions that somebody fetches from, a session or a request
// without one.
//
// The fetching goroutine owns entries, topics, index and spare; a session makes
// sure that there is one at a time. The queue is shared with those who move
// partitions, under mu, which is a leaf: nothing is called while it is held.
type set struct {
	byID    bool
	entries []entry
	// follower says that the reader waits for records that are not committed yet.
	follower bool
	topics   map[Key]*topic         // by topicKey
	index    map[partitionID]uint32 // tokens
	spare    []uint32               // unused positions in entries

	mu      sync.Mutex
	queued  []queued    // by token
	watched []Partition // by token: who tells when it moves, nil if nobody does
	queue   []uint32    // whom to look at, in this order
	news    bool        // what somebody waits for has moved since the queue was taken
	waiting *Wait       // the fetch that waits for news; nil if somebody goes on with it
}

// queued is whether, and how urgently, a partition is in the queue.
type queued uint8

const (
	notQueued queued = iota
	noted            // it can wait for the next pass
	due
)

func newSet(byID bool, size int) *set {
	return &set{
		byID:    byID,
		entries: make([]entry, 0, size),
		topics:  map[Key]*topic{},
		index:   make(map[partitionID]uint32, size),
		queued:  make([]queued, 0, size),
		watched: make([]Partition, 0, size),
		queue:   make([]uint32, 0, size),
	}
}

// topicKey is the part of a key that identifies the topic in this set.
func (s *set) topicKey(k Key) Key {
	if s.byID {
		return Key{ID: k.ID}
	}
	return Key{Topic: k.Topic}
}

// put adds a partition or changes what is wanted of it, and queues it.
func (s *set) put(p *PartitionRequest) {
	k := s.topicKey(p.Key)
	t := s.topics[k]
	if t == nil {
		t = &topic{name: p.Topic, id: p.ID}
		s.topics[k] = t
	}
	at := partitionID{t, p.Partition}
	token, known := s.index[at]
	if !known {
		token = s.free()
		s.index[at] = token
		t.partitions++
		s.entries[token] = entry{partitionID: at, highWatermark: -1, logStart: -1}
	}
	s.entries[token].want, s.entries[token].fresh = p.Want, true
	s.enqueue(token)
}

// free returns an unused token.
func (s *set) free() uint32 {
	if n := len(s.spare); n > 0 {
		token := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return token
	}
	s.entries = append(s.entries, entry{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queued = append(s.queued, notQueued)
	s.watched = append(s.watched, nil)
	return uint32(len(s.entries) - 1)
}

// remove forgets a partition.
func (s *set) remove(k Key) {
	t := s.topics[s.topicKey(k)]
	at := partitionID{t, k.Partition}
	token, known := s.index[at]
	if !known {
		return
	}
	delete(s.index, at)
	if t.partitions--; t.partitions == 0 {
		delete(s.topics, s.topicKey(k))
	}
	s.disarm(token)
	s.entries[token] = entry{}
	s.spare = append(s.spare, token)
}

func (s *set) size() int { return len(s.index) }

// close takes back all watches.
func (s *set) close() {
	for token := range s.entries {
		if s.entries[token].used() {
			s.disarm(uint32(token))
		}
	}
}

// enqueue has a partition looked at with the next pass, without waking anybody.
func (s *set) enqueue(tokens ...uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range tokens {
		if s.queued[t] == notQueued {
			s.queue = append(s.queue, t)
		}
		s.queued[t] = due
	}
}

// requeue puts tokens at the front: they were taken and not looked at.
func (s *set) requeue(tokens []uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tokens = slices.DeleteFunc(slices.Clone(tokens), func(t uint32) bool { return s.queued[t] != notQueued })
	for _, t := range tokens {
		s.queued[t] = due
	}
	s.queue = append(tokens, s.queue...)
}

// take returns the queue and empties it.
func (s *set) take(into []uint32) []uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	into = append(into[:0], s.queue...)
	for _, t := range into {
		s.queued[t] = notQueued
	}
	s.queue = s.queue[:0]
	s.news = false // what it was about is in hand
	return into
}

// Moved implements Watcher. When the news before this one has not been fetched
// yet, it ends the watch: nobody seems to be there, and the sessions of consumers
// that have gone must not cost every append a call. The next look at the
// partition, which is due, takes up the watch again.
func (s *set) Moved(token uint32, awaited bool) (goOn func()) {
	var unheard Partition
	s.mu.Lock()
	if s.queued[token] == notQueued {
		s.queued[token] = noted
		s.queue = append(s.queue, token)
	}
	if awaited {
		if s.queued[token] == due {
			unheard, s.watched[token] = s.watched[token], nil
		}
		s.queued[token] = due
		s.news = true
		if s.waiting != nil {
			goOn, s.waiting = s.waiting.goOn, nil
		}
	}
	s.mu.Unlock()
	if unheard != nil {
		unheard.Unwatch(s, token)
	}
	return goOn
}

// arm makes sure that the partition is watched; it reports whether it was not,
// in which case it may have moved just before.
//
// The watch begins before it is noted: an append that found an earlier one, and
// is late to tell, must not end what has not begun, for that would stay for ever.
func (s *set) arm(token uint32) bool {
	p := s.entries[token].partition
	s.mu.Lock()
	was := s.watched[token]
	s.mu.Unlock()
	if was != nil {
		return false
	}
	p.Watch(s, token, s.follower)
	s.mu.Lock()
	s.watched[token] = p
	s.mu.Unlock()
	return true
}

func (s *set) disarm(token uint32) {
	s.mu.Lock()
	p := s.watched[token]
	s.watched[token] = nil
	s.mu.Unlock()
	if p != nil {
		p.Unwatch(s, token)
	}
}
