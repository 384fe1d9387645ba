package group

import "github.com/gracchus-mq/gracchus/protocol"

// write is what one step has for the log: a group's metadata, or the offsets of a
// commit, or tombstones. Exactly one of them is set.
type write struct {
	group      string
	timeMS     int64
	metadata   *groupWrite
	commit     *Commit
	tombstones *tombstones
}

// groupWrite is a group's metadata on its way to the log.
type groupWrite struct {
	value    groupValue
	returned *replacement // it is about a static member that came back
}

// tombstones delete offsets, and a group.
type tombstones struct {
	offsets []protocol.TopicPartition
	group   bool
}

// awaited reports whether somebody waits for the write. Tombstones nobody waits for,
// and they go to the log whatever the in-sync replicas are, as Kafka's.
func (w *write) awaited() bool { return w.tombstones == nil }

// producer is in whose transaction the write is, nil if it is in none.
func (w *write) producer() *Producer {
	if w.commit == nil {
		return nil
	}
	return w.commit.Producer
}

// size bounds from above what the write takes in a batch, in bytes.
func (w *write) size() int {
	const perRecord = 64 // lengths, varints, and the numbers of an offset
	n := 0
	switch {
	case w.metadata != nil:
		v := &w.metadata.value
		n = perRecord + len(w.group) + len(v.protocolType) + 2*maxIDs
		for i := range v.members {
			m := &v.members[i]
			n += perRecord + len(m.id) + len(m.clientID) + len(m.clientHost) + len(m.subscription) + len(m.assignment)
			if m.instanceID != nil {
				n += len(*m.instanceID)
			}
		}
	case w.commit != nil:
		for i := range w.commit.Offsets {
			o := &w.commit.Offsets[i]
			n += perRecord + len(w.group) + len(o.Topic) + len(o.Metadata)
		}
	default:
		for _, tp := range w.tombstones.offsets {
			n += perRecord + len(w.group) + len(tp.Topic)
		}
		n += perRecord + len(w.group)
	}
	return n
}

// maxIDs is what protocol and leader of a group usually take at most. It does not
// matter if they take more: only how many writes share a batch depends on it.
const maxIDs = 1 << 10

// add adds the write's records to the batch.
func (e *encoder) add(w *write) {
	switch {
	case w.metadata != nil:
		e.key = appendGroupKey(e.key[:0], w.group)
		e.value = appendGroupValue(e.value[:0], &w.metadata.value)
		e.builder.Append(w.timeMS, e.key, e.value)
	case w.commit != nil:
		for i := range w.commit.Offsets {
			if o := &w.commit.Offsets[i]; o.Err == nil {
				value := o.value(w.timeMS)
				e.key = appendOffsetKey(e.key[:0], w.group, o.Topic, o.Partition)
				e.value = appendOffsetValue(e.value[:0], &value)
				e.builder.Append(w.timeMS, e.key, e.value)
			}
		}
	default:
		for _, tp := range w.tombstones.offsets {
			e.key = appendOffsetKey(e.key[:0], w.group, tp.Topic, tp.Partition)
			e.builder.Append(w.timeMS, e.key, nil)
		}
		if w.tombstones.group {
			e.key = appendGroupKey(e.key[:0], w.group)
			e.builder.Append(w.timeMS, e.key, nil)
		}
	}
}
