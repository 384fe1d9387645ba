package group

import (
	"fmt"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
)

// loader makes groups of the records of a partition. It holds only what the records
// so far have left: what is deleted later is dropped then.
type loader struct {
	groups map[string]*loadedGroup
	topics map[string]string // many offsets share one string
	// open are the offsets of producers' transactions that have not ended.
	open map[int64]map[offsetName]storedOffset

	offsets      int
	skipped      int
	firstSkipped error
}

// offsetName names an offset within a partition of __consumer_offsets.
type offsetName struct {
	group string
	protocol.TopicPartition
}

func newLoader() *loader {
	return &loader{groups: map[string]*loadedGroup{}, topics: map[string]string{}, open: map[int64]map[offsetName]storedOffset{}}
}

// maxOpened bounds what a compressed batch may become, in bytes.
const maxOpened = 1 << 30

// add adds an entry of the log: a batch or, of the formats before 2, a message, as
// Kafka 0.10 and before have left them. Errors are those of an entry that cannot be read.
func (l *loader) add(entry record.Batch) error {
	if entry.Magic() < 2 {
		return l.addMessage(record.Message(entry))
	}
	if err := entry.CheckCRC(); err != nil {
		return err
	}
	if entry.IsControl() {
		m, ok, err := record.ParseMarker(entry)
		if ok {
			l.endTransaction(entry, m.Type == record.ControlCommit)
		}
		return err
	}
	from := source{at: entry.BaseOffset(), transactional: entry.IsTransactional(), producer: entry.ProducerID()}
	for r, err := range entry.Records(maxOpened) {
		if err != nil {
			return err
		}
		l.addRecord(from, entry.Offset(r), r.Key, r.Value)
	}
	return nil
}

func (l *loader) addMessage(m record.Message) error {
	if err := m.CheckCRC(); err != nil {
		return err
	}
	for r, err := range m.Records(maxOpened) {
		if err != nil {
			return err
		}
		l.addRecord(source{at: r.Offset}, r.Offset, r.Key, r.Value)
	}
	return nil
}

// source is where a record comes from.
type source struct {
	at            int64 // the base offset of its batch
	transactional bool
	producer      int64 // whose transaction it is in
}

func (l *loader) skip(err error) {
	if l.skipped == 0 {
		l.firstSkipped = err
	}
	l.skipped++
}

func (l *loader) addRecord(from source, offset int64, key, value []byte) {
	if err := l.addParsed(from, key, value); err != nil {
		l.skip(fmt.Errorf("offset %d: %w", offset, err))
	}
}

func (l *loader) addParsed(from source, key, value []byte) error {
	k, err := parseRecordKey(key)
	switch {
	case err != nil:
		return err
	case k.isOffset():
		return l.addOffset(from, k, value)
	case k.isGroup():
		return l.addGroup(k.group, value)
	}
	return fmt.Errorf("key of version %d: %w", k.version, errRecord)
}

func (l *loader) addOffset(from source, key recordKey, value []byte) error {
	tp := protocol.TopicPartition{Topic: l.topic(key.topic), Partition: key.partition}
	if value == nil {
		l.deleteOffset(key.group, tp)
		return nil
	}
	v, err := parseOffsetValue(value)
	if err != nil {
		return err
	}
	o := storedOffset{v, from.at}
	if from.transactional {
		pending := l.open[from.producer]
		if pending == nil {
			pending = map[offsetName]storedOffset{}
			l.open[from.producer] = pending
		}
		pending[offsetName{string(key.group), tp}] = o
		return nil
	}
	l.store(l.group(key.group), tp, o)
	return nil
}

// store takes over an offset, unless a later one is known.
func (l *loader) store(g *loadedGroup, tp protocol.TopicPartition, o storedOffset) {
	if g.offsets.put(tp, o) {
		l.offsets++
	}
}

// deleteOffset deletes an offset, also one that waits for the end of its transaction:
// when it was deleted it was there already.
func (l *loader) deleteOffset(group []byte, tp protocol.TopicPartition) {
	for id, pending := range l.open {
		if delete(pending, offsetName{string(group), tp}); len(pending) == 0 {
			delete(l.open, id)
		}
	}
	g := l.groups[string(group)]
	if g == nil {
		return
	}
	if g.offsets.remove(tp) {
		l.offsets--
	}
	l.dropEmpty(group, g)
}

func (l *loader) addGroup(id, value []byte) error {
	if value == nil {
		if g := l.groups[string(id)]; g != nil {
			g.meta = nil
			l.dropEmpty(id, g)
		}
		return nil
	}
	v, err := parseGroupValue(value)
	if err != nil {
		return err
	}
	l.group(id).meta = &v
	return nil
}

// endTransaction makes a producer's offsets valid, or drops them.
func (l *loader) endTransaction(b record.Batch, commit bool) {
	pending := l.open[b.ProducerID()]
	delete(l.open, b.ProducerID())
	if !commit {
		return
	}
	for name, o := range pending {
		l.store(l.group([]byte(name.group)), name.TopicPartition, o)
	}
}

func (l *loader) group(id []byte) *loadedGroup {
	g := l.groups[string(id)]
	if g == nil {
		g = &loadedGroup{}
		l.groups[string(id)] = g
	}
	return g
}

func (l *loader) dropEmpty(id []byte, g *loadedGroup) {
	if g.meta == nil && g.offsets.len() == 0 {
		delete(l.groups, string(id))
	}
}

// topic returns one string for all that are equal.
func (l *loader) topic(name []byte) string {
	one, ok := l.topics[string(name)]
	if !ok {
		one = string(name)
		l.topics[one] = one
	}
	return one
}

// finish hands the transactions that are open still to their groups.
func (l *loader) finish() {
	for id, pending := range l.open {
		for name, o := range pending {
			g := l.group([]byte(name.group))
			if g.transactions == nil {
				g.transactions = map[int64]map[protocol.TopicPartition]storedOffset{}
			}
			if g.transactions[id] == nil {
				g.transactions[id] = map[protocol.TopicPartition]storedOffset{}
			}
			g.transactions[id][name.TopicPartition] = o
		}
	}
}
