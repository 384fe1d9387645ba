package group

import (
	"github.com/gracchus-mq/gracchus/protocol"
)

// Producer is a producer in a transaction.
type Producer struct {
	ID    int64
	Epoch int16
}

// TransactionEnd says how a producer's transaction has ended in a partition of
// __consumer_offsets.
type TransactionEnd struct {
	ProducerID int64
	Commit     bool
	At         int64 // the offset of the marker: what is in the log before it has ended
}

// openTransaction is what a producer has committed for a group in a transaction that has
// not ended.
type openTransaction struct {
	offsets map[protocol.TopicPartition]storedOffset // that are in the log
	// inFlight is how many commits are on their way to the log, and ends the markers that
	// have come meanwhile: it is the log that says whether a commit or the marker was first.
	inFlight int
	ends     []TransactionEnd
}

// transaction returns the transaction of a producer, which is open from now on.
func (g *classicGroup) transaction(producerID int64) *openTransaction {
	t := g.transactions[producerID]
	if t == nil {
		t = &openTransaction{offsets: map[protocol.TopicPartition]storedOffset{}}
		if g.transactions == nil {
			g.transactions = map[int64]*openTransaction{}
		}
		g.transactions[producerID] = t
	}
	return t
}

// storeInTransaction takes over an offset that is in the log, and valid when its
// transaction is committed.
func (g *classicGroup) storeInTransaction(producerID int64, tp protocol.TopicPartition, o storedOffset) {
	t := g.transaction(producerID)
	for _, end := range t.ends {
		if o.at < end.At {
			if end.Commit {
				g.store(tp, o)
			}
			return
		}
	}
	if old, there := t.offsets[tp]; there {
		if old.at > o.at {
			return
		}
		g.takes -= openOffsetFootprint(tp.Topic, old.Metadata)
	}
	g.takes += openOffsetFootprint(tp.Topic, o.Metadata)
	t.offsets[tp] = o
}

// landedInTransaction is told when a commit has landed, or has failed.
func (g *classicGroup) landedInTransaction(producerID int64) {
	t := g.transaction(producerID)
	if t.inFlight--; t.inFlight == 0 {
		t.ends = nil
	}
	g.closeIfEmpty(producerID, t)
}

func (g *classicGroup) closeIfEmpty(producerID int64, t *openTransaction) {
	if t.inFlight == 0 && len(t.offsets) == 0 {
		delete(g.transactions, producerID)
	}
}

// endTransaction makes the offsets of a transaction valid, or drops them. It reports
// whether the producer has committed more, in the log after the marker or on its way there.
func (g *classicGroup) endTransaction(e TransactionEnd) (open bool) {
	t := g.transactions[e.ProducerID]
	if t == nil {
		return false
	}
	for tp, o := range t.offsets {
		if o.at >= e.At {
			continue
		}
		delete(t.offsets, tp)
		g.takes -= openOffsetFootprint(tp.Topic, o.Metadata)
		if e.Commit {
			g.store(tp, o)
		}
	}
	if t.inFlight > 0 {
		t.ends = append(t.ends, e)
	}
	g.closeIfEmpty(e.ProducerID, t)
	return g.transactions[e.ProducerID] != nil
}

// EndTransaction is to be told when a transaction's marker is in a partition of
// __consumer_offsets, and safe there: the offsets that its producer has committed in it
// are valid when it returns, or gone. It may be told of a marker more than once.
func (c *Coordinator) EndTransaction(number int32, e TransactionEnd) {
	if p := c.led.All()[number]; p != nil {
		p.endTransaction(e)
	}
}

// endTransaction ends a transaction in the groups that have offsets in it, or when they
// are loaded.
func (p *partition) endTransaction(e TransactionEnd) {
	p.mu.Lock()
	groups := p.open[e.ProducerID]
	delete(p.open, e.ProducerID)
	if p.table.Loading() {
		p.ended = append(p.ended, e)
	}
	p.mu.Unlock()
	for h := range groups {
		g, _ := h.begin()
		if g.endTransaction(e) {
			p.opened(e.ProducerID, h)
		}
		h.end(&effects{}, true)
	}
}

// opened notes that a producer has committed something for a group in a transaction. The
// group's mutex is held.
func (p *partition) opened(producerID int64, h *hosted) {
	p.mu.Lock()
	defer p.mu.Unlock()
	groups := p.open[producerID]
	if groups == nil {
		if p.open == nil {
			p.open = map[int64]map[*hosted]struct{}{}
		}
		groups = map[*hosted]struct{}{}
		p.open[producerID] = groups
	}
	groups[h] = struct{}{}
}
