package controller

import "github.com/gracchus-mq/gracchus/protocol"

// batch collects what brokers are to be told about one state change, so that each
// outbox is touched once.
type batch struct {
	roles  map[int32][]role
	stops  map[int32][]entry[protocol.TopicPartition, stop]
	states []*news
}

// announce tells the replicas in to their part in a partition, and all brokers its
// state. isNew lets those replicas be made anywhere.
func (b *batch) announce(st *state, p *partition, to []int32, isNew bool) {
	n := st.newsOf(p)
	if b.roles == nil {
		b.roles = map[int32][]role{}
	}
	for _, id := range to {
		b.roles[id] = append(b.roles[id], role{n, isNew})
	}
	b.states = append(b.states, n)
}

// state tells all brokers a partition's state.
func (b *batch) state(st *state, p *partition) { b.states = append(b.states, st.newsOf(p)) }

// stop ends a replica's part in a partition.
func (b *batch) stop(id int32, tp protocol.TopicPartition, s stop) {
	if b.stops == nil {
		b.stops = map[int32][]entry[protocol.TopicPartition, stop]{}
	}
	b.stops[id] = append(b.stops[id], entry[protocol.TopicPartition, stop]{tp, s})
}

// post puts everything into the outboxes. Brokers that do not live have none: they
// are told everything when they come.
func (b *batch) post(st *state) {
	if len(b.roles)+len(b.stops)+len(b.states) == 0 {
		return
	}
	for id, to := range st.brokers {
		if to.outbox == nil {
			continue
		}
		to.outbox.add(func(m *mail) {
			for _, r := range b.roles[id] {
				m.addRole(r.news, r.isNew)
			}
			for _, n := range b.states {
				m.addState(n)
			}
			for _, s := range b.stops[id] {
				m.addStop(s.key, s.value)
			}
		})
	}
}
