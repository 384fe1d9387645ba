package group

import (
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/statelog"
)

// queued is a write on its way to the log, and whose it is.
type queued struct {
	of   *hosted
	acks int16
	write
}

// queue has writes go to the log: see statelog.Appender.
func (h *hosted) queue(writes []write, background bool) (due, closed bool) {
	var room [4]queued // seldom are there more
	list := room[:0]
	for _, w := range writes {
		q := queued{of: h, write: w}
		if w.awaited() {
			q.acks = h.of.acks
		}
		list = append(list, q)
	}
	return h.of.appender.Enqueue(background, list...)
}

// Size is that of the write.
func (q queued) Size() int { return q.write.size() }

// Kind is in whose transaction the write is, if it is in one. It waits for the acks of
// offsets.commit.required.acks, or for none if nobody waits.
func (q queued) Kind() statelog.Kind {
	k := statelog.Kind{Acks: q.acks, ProducerID: record.NoProducerID, Epoch: record.NoProducerEpoch}
	if p := q.producer(); p != nil {
		k.ProducerID, k.Epoch = p.ID, p.Epoch
	}
	return k
}

// Written goes on with the group.
func (q queued) Written(base int64, err error) { q.of.written(&q.write, base, err) }

// encoder makes batches of writes to one partition. It is used again and again for its
// buffers.
type encoder struct {
	codec      record.Codec
	builder    *record.Builder
	key, value []byte
}

func newEncoder(codec record.Codec) *encoder {
	return &encoder{codec: codec, builder: record.NewBuilder()}
}

// encode makes a batch, as Kafka does: it has no producer but that of a transaction, and
// begins with sequence 0 if there are offsets. What would be larger than maxBytes is
// compressed.
func (e *encoder) encode(writes []queued, maxBytes int) (record.Batch, error) {
	e.builder.Reset()
	e.builder.SetCodec(e.codec, record.DefaultLevel)
	sequence := record.NoSequence
	for i := range writes {
		w := &writes[i].write
		e.add(w)
		if w.commit != nil {
			sequence = 0
		}
	}
	kind := writes[0].Kind()
	e.builder.SetProducer(kind.ProducerID, kind.Epoch, sequence)
	e.builder.SetTransactional(kind.ProducerID != record.NoProducerID)
	if e.codec == record.None && e.builder.Size() > maxBytes {
		e.builder.SetCodec(record.Zstd, record.DefaultLevel)
	}
	return e.builder.Build()
}
