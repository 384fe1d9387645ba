package group

import (
	"cmp"
	"iter"
	"slices"

	"github.com/gracchus-mq/gracchus/protocol"
)

// offsetTable has what a group has committed. A coordinator may have millions of
// offsets, and all are put in anew when it begins: so those of a topic stand side by
// side, in the order of partitions, in which they usually come. One that comes or goes
// in between moves those after it. The zero value is empty.
type offsetTable struct {
	topics map[string]*topicOffsets
	n      int
	takes  footprint
}

// topicOffsets are the offsets of one topic. There is at least one.
type topicOffsets struct {
	entries []tableEntry // in the order of partitions
	rare    []rareFields // of each entry, or nil if none has any
}

// tableEntry is what every offset has. It has no pointers, so that collecting garbage
// does not mean going over all offsets.
type tableEntry struct {
	partition   int32
	leaderEpoch int32
	offset      int64
	commitMS    int64
	at          int64
}

// rareFields are those that few clients use.
type rareFields struct {
	metadata string
	expireMS int64
}

var noRareFields = rareFields{expireMS: NoExpiry}

// find returns where a partition is, or would be.
func (of *topicOffsets) find(partition int32) (i int, found bool) {
	if n := len(of.entries); n == 0 || of.entries[n-1].partition < partition {
		return n, false
	}
	if i = int(partition); i >= 0 && i < len(of.entries) && of.entries[i].partition == partition {
		return i, true // as if all partitions are there
	}
	return slices.BinarySearchFunc(of.entries, partition, func(e tableEntry, p int32) int { return cmp.Compare(e.partition, p) })
}

func (t *offsetTable) len() int { return t.n }

// has reports whether there are offsets of a topic.
func (t *offsetTable) has(topic string) bool { return t.topics[topic] != nil }

func (t *offsetTable) get(tp protocol.TopicPartition) (o storedOffset, ok bool) {
	of := t.topics[tp.Topic]
	if of == nil {
		return storedOffset{}, false
	}
	i, found := of.find(tp.Partition)
	if !found {
		return storedOffset{}, false
	}
	return of.at(i), true
}

// at is the i-th offset.
func (of *topicOffsets) at(i int) storedOffset {
	e, rare := &of.entries[i], of.rareAt(i)
	return storedOffset{OffsetValue{e.offset, e.leaderEpoch, rare.metadata, e.commitMS, rare.expireMS}, e.at}
}

func (of *topicOffsets) rareAt(i int) rareFields {
	if of.rare == nil {
		return noRareFields
	}
	return of.rare[i]
}

func (of *topicOffsets) setRare(i int, f rareFields) {
	switch {
	case of.rare != nil:
		of.rare[i] = f
	case f != noRareFields:
		of.rare = slices.Repeat([]rareFields{noRareFields}, len(of.entries))
		of.rare[i] = f
	}
}

func (of *topicOffsets) insert(i int, e tableEntry) {
	of.entries = slices.Insert(of.entries, i, e)
	if of.rare != nil {
		of.rare = slices.Insert(of.rare, i, noRareFields)
	}
}

func (of *topicOffsets) delete(i int) {
	of.entries = slices.Delete(of.entries, i, i+1)
	if of.rare != nil {
		of.rare = slices.Delete(of.rare, i, i+1)
	}
}

// put takes over an offset, unless one is there that is later in the log. It reports
// whether there was none.
func (t *offsetTable) put(tp protocol.TopicPartition, o storedOffset) (added bool) {
	of := t.topics[tp.Topic]
	if of == nil {
		of = t.addTopic(tp.Topic)
	}
	i, found := of.find(tp.Partition)
	if found && of.entries[i].at > o.at {
		return false
	}
	e := tableEntry{tp.Partition, o.LeaderEpoch, o.Offset, o.CommitMS, o.at}
	if found {
		t.takes -= of.footprint(i)
		of.entries[i] = e
	} else {
		of.insert(i, e)
		t.n++
	}
	of.setRare(i, rareFields{o.Metadata, o.ExpireMS})
	t.takes += of.footprint(i)
	return !found
}

func (t *offsetTable) addTopic(topic string) *topicOffsets {
	if t.topics == nil {
		t.topics = map[string]*topicOffsets{}
	}
	of := &topicOffsets{}
	t.topics[topic] = of
	t.takes += topicsFootprint(topic)
	return of
}

// remove reports whether there was an offset.
func (t *offsetTable) remove(tp protocol.TopicPartition) bool {
	of := t.topics[tp.Topic]
	if of == nil {
		return false
	}
	i, found := of.find(tp.Partition)
	if !found {
		return false
	}
	t.n--
	t.takes -= of.footprint(i)
	if len(of.entries) == 1 {
		t.takes -= topicsFootprint(tp.Topic)
		delete(t.topics, tp.Topic)
		return true
	}
	of.delete(i)
	return true
}

// all goes over the offsets: of one topic after the other, in no order, and of each in
// the order of partitions. The table must not change meanwhile.
func (t *offsetTable) all() iter.Seq2[protocol.TopicPartition, storedOffset] {
	return func(yield func(protocol.TopicPartition, storedOffset) bool) {
		for topic, of := range t.topics {
			for i := range of.entries {
				if !yield(protocol.TopicPartition{Topic: topic, Partition: of.entries[i].partition}, of.at(i)) {
					return
				}
			}
		}
	}
}
