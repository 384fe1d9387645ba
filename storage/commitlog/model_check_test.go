package commitlog

import (
	"bytes"
	"slices"

	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/producerstate"
)

// What TestModel compares.

func (m *model) checkOffsets() {
	l := m.log
	if l.EndOffset() != m.end || l.StartOffset() != m.start || l.HighWatermark() != m.hw {
		m.fatalf("offsets are start %d, hw %d, end %d; want %d, %d, %d", l.StartOffset(), l.HighWatermark(), l.EndOffset(), m.start, m.hw, m.end)
	}
	if l.RecoveryPoint() > l.SyncedOffset() || l.SyncedOffset() > m.end {
		m.fatalf("recovery point %d, synced %d, end %d", l.RecoveryPoint(), l.SyncedOffset(), m.end)
	}
	if stable := l.LastStableOffset(); stable > m.hw && stable > m.start {
		m.fatalf("last stable offset %d above the high watermark %d", stable, m.hw)
	}
}

// visible is the batches that can be read.
func (m *model) visible() []modelBatch {
	i, _ := slices.BinarySearchFunc(m.batches, m.start, func(b modelBatch, o int64) int { return int(b.last - o) })
	return m.batches[i:]
}

func (m *model) check() {
	m.checkReads()
	m.checkTimes()
	m.checkEpochs()
	m.checkAborted()
	m.checkProducers()
}

func (m *model) checkReads() {
	visible := m.visible()
	var want []byte
	for _, b := range visible {
		want = append(want, b.raw...)
	}
	var got []byte
	for from := m.start; from < m.end; {
		r, err := m.log.Read(from, int32(m.rng.IntN(500)), m.end, true)
		m.ok(err)
		raw, err := r.AppendTo(nil)
		r.Release()
		m.ok(err)
		b, _, err := record.Next(raw)
		if len(raw) == 0 {
			break // a gap at the end
		}
		m.ok(err)
		for err == nil {
			got = append(got, b...)
			from = b.NextOffset()
			raw = raw[len(b):]
			b, _, err = record.Next(raw)
		}
	}
	if !bytes.Equal(got, want) {
		m.fatalf("reading from %d to %d gives %d bytes, want %d: they differ", m.start, m.end, len(got), len(want))
	}
	for range 20 {
		from, upTo := m.start+m.rng.Int64N(m.end-m.start+1), m.start+m.rng.Int64N(m.end-m.start+1)
		r, err := m.log.Read(from, 1, upTo, true)
		m.ok(err)
		raw, err := r.AppendTo(nil)
		m.ok(err)
		i, _ := slices.BinarySearchFunc(visible, from, func(b modelBatch, o int64) int { return int(b.last - o) })
		var want []byte
		if from < upTo && i < len(visible) && visible[i].last < upTo {
			want = visible[i].raw
			if r.BaseOffset != visible[i].base {
				m.fatalf("a read at %d says it begins at %d, not %d", from, r.BaseOffset, visible[i].base)
			}
		}
		r.Release()
		if !bytes.Equal(raw, want) {
			m.fatalf("a read at %d below %d gives %d bytes, want %d", from, upTo, len(raw), len(want))
		}
	}
}

func (m *model) checkTimes() {
	type stamped struct{ offset, ts int64 }
	var records []stamped
	for _, b := range m.visible() {
		for r, err := range b.raw.Records(1 << 20) {
			m.ok(err)
			if o := b.raw.Offset(r); o >= m.start {
				records = append(records, stamped{o, b.raw.Timestamp(r)})
			}
		}
	}
	for range 10 {
		ts := m.now - m.rng.Int64N(1000) + 20
		upTo := m.start + m.rng.Int64N(m.end-m.start+1)
		want := stamped{-1, -1}
		if i := slices.IndexFunc(records, func(s stamped) bool { return s.ts >= ts && s.offset < upTo }); i >= 0 {
			want = records[i]
		}
		offset, timestamp, _, err := m.log.OffsetForTimestamp(ts, upTo)
		m.ok(err)
		if offset != want.offset || timestamp != want.ts {
			m.fatalf("time %d below %d is found at %d (%d), want %d (%d)", ts, upTo, offset, timestamp, want.offset, want.ts)
		}
	}
	want := stamped{-1, -1}
	for _, r := range records {
		if r.ts > want.ts {
			want = r
		}
	}
	offset, timestamp, _, err := m.log.MaxTimestampOffset()
	m.ok(err)
	// Records below the start offset count as long as their segment is there.
	if timestamp < want.ts || timestamp == want.ts && offset > want.offset {
		m.fatalf("newest time is %d (%d), want %d (%d)", offset, timestamp, want.offset, want.ts)
	}
}

func (m *model) checkEpochs() {
	// What is below the highest start may be forgotten, even if a crash brings
	// the records back.
	clip := func(es []epochStart, from int64) (out []epochStart) {
		for _, e := range es {
			e.offset = max(e.offset, from)
			if n := len(out); n > 0 && out[n-1].offset == e.offset {
				out = out[:n-1]
			}
			out = append(out, e)
		}
		return slices.DeleteFunc(out, func(e epochStart) bool { return e.offset >= m.end })
	}
	var want []epochStart
	for _, b := range m.visible() {
		if n := len(want); n == 0 || want[n-1].epoch < b.epoch {
			want = append(want, epochStart{b.epoch, b.base})
		}
	}
	want = clip(want, m.maxStart)
	if len(want) == 0 {
		return
	}
	if m.scarce {
		// An epoch may be known that no batch has come into, for want of room.
		for _, b := range m.visible() {
			if e := m.log.EpochAt(max(b.base, m.maxStart)); b.last >= m.maxStart && e != b.epoch {
				m.fatalf("the batch at %d is of epoch %d and passes for one of %d: %v", b.base, b.epoch, e, m.log.epochs.entries)
			}
		}
		return
	}
	if got := clip(m.log.epochs.entries, want[0].offset); !slices.Equal(got, want) {
		m.fatalf("leader epochs are %v, want %v", got, want)
	}
}

func (m *model) checkAborted() {
	first := map[int64]int64{}
	var all []AbortedTxn
	for _, b := range m.batches {
		pid := b.raw.ProducerID()
		switch began, open := first[pid]; {
		case b.raw.IsControl():
			if mark, _, err := record.ParseMarker(b.raw); err == nil && mark.Type == record.ControlAbort && open {
				all = append(all, AbortedTxn{ProducerID: pid, FirstOffset: began, LastOffset: b.base})
			}
			delete(first, pid)
		case b.raw.IsTransactional() && !open:
			first[pid] = b.base
		}
	}
	// A transaction that began below the start may be taken for one that began
	// later.
	early := map[int64]bool{}
	for _, txn := range all {
		early[txn.LastOffset] = txn.FirstOffset < m.maxStart
	}
	relevant := func(ts []AbortedTxn, from, upper int64) []AbortedTxn {
		return slices.DeleteFunc(slices.Clone(ts), func(t AbortedTxn) bool {
			return early[t.LastOffset] || t.LastOffset < from || t.FirstOffset >= upper
		})
	}
	for range 5 {
		from := m.start + m.rng.Int64N(m.end-m.start+1)
		upper := from + m.rng.Int64N(m.end-from+1)
		got, err := m.log.AbortedTransactions(from, upper)
		m.ok(err)
		for i := range got {
			got[i].LastStableOffset = 0
		}
		if want := relevant(all, from, upper); !slices.Equal(relevant(got, from, upper), want) {
			m.fatalf("aborted transactions in [%d, %d) are %v, want %v", from, upper, got, want)
		}
	}
}

func (m *model) checkProducers() {
	state := producerstate.New(m.o.ProducerIDExpiration)
	for _, b := range m.batches {
		state.Append(b.raw)
	}
	got := map[int64]producerstate.Producer{}
	for _, p := range m.log.Producers() {
		got[p.ID] = p
	}
	for p := range state.Producers() {
		last, ok := p.LastBatch()
		if !ok || last.LastOffset < m.maxStart || p.TxnFirstOffset >= 0 && p.TxnFirstOffset < m.maxStart {
			continue // forgotten with the log's beginning, perhaps
		}
		g := got[p.ID]
		if g.Epoch != p.Epoch || g.LastSequence() != p.LastSequence() || g.TxnFirstOffset != p.TxnFirstOffset || g.LastTimestamp != p.LastTimestamp {
			m.fatalf("producer %d is %+v, want %+v", p.ID, g, p)
		}
	}
}
