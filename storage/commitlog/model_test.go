package commitlog

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/producerstate"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// This test does random operations to a log and to a model of it, which is no
// more than a list of batches, and compares the two: what can be read, the
// indexes, the leader epochs, the aborted transactions, the producers. Now and
// then the process is killed, or the power fails. After a kill everything is
// there; after a power loss a beginning of the log that holds at least what was
// synced.
//
// A failure names its seed: run it alone with -run 'TestModel/seed=N$'.

func TestModel(t *testing.T) {
	seeds := uint64(100)
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			newModel(t, seed).run(120)
		})
	}
}

type model struct {
	t     *testing.T
	rng   *rand.Rand
	mem   *vfs.Mem
	o     Options
	log   *Log
	steps []string

	batches  []modelBatch // all there ever were and that were not truncated
	start    int64
	maxStart int64 // the highest start there ever was
	end      int64
	hw       int64
	synced   int64
	epoch    int32
	now      int64
	seq      map[int64]int32 // next sequence number of each producer
	open     map[int64]bool  // producers with an open transaction

	// What the store's checkpoint files hold.
	point, pointStart, pointHW int64
}

type modelBatch struct {
	header
	raw record.Batch
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{
		t: t, rng: rand.New(rand.NewPCG(seed, 7)), mem: vfs.NewMem(), now: time.Now().UnixMilli(),
		seq: map[int64]int32{}, open: map[int64]bool{},
	}
	must(t, m.mem.MkdirAll("/logs/t-0", 0o755))
	must(t, m.mem.SyncDir("/"))
	must(t, m.mem.SyncDir("/logs"))
	m.o = testOptions(nil)
	m.o.Files = NewFileCache(1 + m.rng.IntN(8))
	m.o.Config.SegmentBytes = []int32{400, 1000, 3000}[m.rng.IntN(3)]
	m.o.Config.IndexIntervalBytes = []int32{0, 100, 300}[m.rng.IntN(3)]
	m.o.Config.Compact = m.rng.IntN(4) == 0
	m.o.Config.Preallocate = m.rng.IntN(4) == 0
	if m.rng.IntN(4) == 0 {
		m.o.Config.SegmentIndexBytes = 50
	}
	m.o.OnTruncate = func() error {
		m.point, m.pointStart = min(m.point, m.log.RecoveryPoint()), min(m.pointStart, m.log.StartOffset())
		return nil
	}
	m.openLog(false)
	return m
}

func (m *model) openLog(clean bool) {
	o := m.o
	o.FS, o.Clean = m.mem, clean
	o.RecoveryPoint, o.StartOffset, o.HighWatermark = m.point, m.pointStart, m.pointHW
	if clean {
		o.RecoveryPoint, o.StartOffset, o.HighWatermark = m.log.RecoveryPoint(), m.start, m.hw
	}
	l, err := Open(o)
	if err != nil {
		m.fatalf("open: %v", err)
	}
	m.log = l
	m.t.Cleanup(l.Abandon)
}

func (m *model) fatalf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s\nafter: %s", fmt.Sprintf(format, args...), strings.Join(m.steps, ", "))
}

func (m *model) note(format string, args ...any) {
	m.steps = append(m.steps, fmt.Sprintf(format, args...))
}

func (m *model) ok(err error) {
	m.t.Helper()
	if err != nil {
		m.fatalf("%v", err)
	}
}

func (m *model) run(steps int) {
	for range steps {
		switch n := m.rng.IntN(100); {
		case n < 45:
			m.appendAsLeader()
		case n < 55:
			m.appendAsFollower()
		case n < 65:
			m.sync()
		case n < 71:
			m.hw = m.log.SetHighWatermark(m.start + m.rng.Int64N(m.end-m.start+1))
			m.note("hw %d", m.hw)
		case n < 76:
			m.point, m.pointStart, m.pointHW = m.log.RecoveryPoint(), m.log.StartOffset(), m.log.HighWatermark()
			m.note("checkpoint %d %d %d", m.point, m.pointStart, m.pointHW)
		case n < 80:
			m.truncate()
		case n < 81:
			m.restart()
		case n < 86:
			m.retain()
		case n < 90:
			m.closeAndOpen()
		case n < 94:
			m.kill()
		default:
			m.crash()
		}
		m.checkOffsets()
		if m.rng.IntN(10) == 0 {
			m.check()
		}
	}
	m.check()
	m.closeAndOpen()
	m.check()
}

// batch makes a batch: plain, of an idempotent producer, transactional, or the
// end of a transaction.
func (m *model) batch() record.Batch {
	m.now += int64(m.rng.IntN(20)) - 5
	pid := int64(1 + m.rng.IntN(3))
	if m.open[pid] && m.rng.IntN(2) == 0 {
		return record.EndTxnMarker(pid, 0, 1, m.rng.IntN(2) == 0, m.now)
	}
	b := record.NewBuilder()
	n := 1 + m.rng.IntN(4)
	for range n {
		b.Append(m.now+int64(m.rng.IntN(9))-4, []byte("k"), bytes.Repeat([]byte("v"), m.rng.IntN(60)))
	}
	switch kind := m.rng.IntN(4); {
	case kind == 0 || m.open[pid]:
		b.SetProducer(pid, 0, m.seq[pid]).SetTransactional()
	case kind == 1:
		b.SetProducer(pid+10, 0, m.seq[pid+10])
	case kind == 2 && m.rng.IntN(2) == 0:
		b.SetCodec(record.LZ4, record.DefaultLevel)
	}
	batch, err := b.Build()
	m.ok(err)
	return batch
}

// add puts a batch into the model, as it was stored.
func (m *model) add(b record.Batch) {
	raw := record.Batch(bytes.Clone(b))
	h, _, err := parseHeader(raw)
	m.ok(err)
	m.batches = append(m.batches, modelBatch{h, raw})
	m.end = h.next()
	m.follow(raw)
}

// follow keeps track of the sequence numbers and transactions that a batch means.
func (m *model) follow(b record.Batch) {
	switch {
	case b.IsControl():
		m.open[b.ProducerID()] = false
	case b.HasProducerID():
		m.seq[b.ProducerID()] = record.AddSequence(b.LastSequence(), 1)
		if b.IsTransactional() {
			m.open[b.ProducerID()] = true
		}
	}
}

func (m *model) appendAsLeader() {
	if m.rng.IntN(10) == 0 {
		m.epoch++
	}
	b := m.batch()
	origin := record.Client
	if b.IsControl() {
		origin = record.Coordinator
	}
	info, err := m.log.AppendAsLeader(b, m.epoch, origin)
	if err != nil || info.FirstOffset != m.end || info.LastOffset != m.end+int64(b.LastOffsetDelta()) || info.Duplicate {
		m.fatalf("append at %d: %+v, %v", m.end, info, err)
	}
	m.note("append %d–%d", info.FirstOffset, info.LastOffset)
	m.add(b)
}

func (m *model) appendAsFollower() {
	var all []byte
	var batches []record.Batch
	next := m.end
	for range 1 + m.rng.IntN(3) {
		if m.o.Config.Compact && m.rng.IntN(2) == 0 {
			next += int64(m.rng.IntN(5)) // a gap that compaction left
		}
		b := m.batch()
		b.SetBaseOffset(next)
		b.SetLeaderEpoch(m.epoch)
		next = b.NextOffset()
		all = append(all, b...)
		batches = append(batches, b)
		m.follow(b)
	}
	cut := m.rng.IntN(50)
	all = append(all, batches[0][:cut]...)
	info, err := m.log.AppendAsFollower(all, m.epoch)
	if err != nil || info.LastOffset != next-1 || info.Bytes != len(all)-cut {
		m.fatalf("follower append up to %d: %+v, %v", next, info, err)
	}
	m.note("follow %d–%d", info.FirstOffset, info.LastOffset)
	for _, b := range batches {
		m.add(b)
	}
}

func (m *model) sync() {
	upTo := m.start + m.rng.Int64N(m.end-m.start+2)
	m.ok(m.log.Sync(upTo))
	m.note("sync %d", upTo)
	if m.log.SyncedOffset() < min(upTo, m.end) {
		m.fatalf("synced offset is %d after Sync(%d)", m.log.SyncedOffset(), upTo)
	}
	m.synced = max(m.synced, min(upTo, m.end))
}

// cut removes what is at offset and above from the model.
func (m *model) cut(offset int64) {
	for len(m.batches) > 0 {
		last := m.batches[len(m.batches)-1]
		if last.last < offset {
			break
		}
		offset = min(offset, last.base)
		m.batches = m.batches[:len(m.batches)-1]
	}
	m.end = offset
	m.hw, m.synced = min(m.hw, offset), min(m.synced, offset)
	m.resume()
}

// resume makes the producers go on from what the log knows of them, which after a
// truncation or a crash may be less than they have sent: see checkProducers. One
// that it has forgotten goes on as if nothing had happened.
func (m *model) resume() {
	clear(m.open)
	for _, p := range m.log.Producers() {
		m.seq[p.ID] = p.LastSequence() + 1
		m.open[p.ID] = p.TxnFirstOffset >= 0
	}
}

func (m *model) truncate() {
	offset := max(m.log.BaseOffset(), m.end-m.rng.Int64N(30))
	// In a gap that compaction left, the log would end where no batch does, and
	// not remember it (as with Kafka).
	if i, _ := slices.BinarySearchFunc(m.batches, offset, func(b modelBatch, o int64) int { return int(b.last - o) }); i > 0 && offset < m.end {
		offset = min(offset, max(m.batches[i-1].next(), m.log.BaseOffset()))
		if i < len(m.batches) && m.batches[i].base <= offset {
			offset = max(offset, m.batches[i].base)
		}
	}
	m.ok(m.log.TruncateTo(offset))
	m.note("truncate %d", offset)
	if offset < m.end {
		m.cut(offset)
	}
	m.start = min(m.start, m.end)
	m.synced = m.end // a truncated log is synced
	m.synced = min(m.synced, m.log.SyncedOffset())
}

func (m *model) restart() {
	offset := m.end + m.rng.Int64N(20)
	m.ok(m.log.TruncateFullyAndStartAt(offset))
	m.note("restart at %d", offset)
	m.batches = nil
	m.start, m.end, m.hw, m.synced = offset, offset, offset, offset
	m.maxStart = max(m.maxStart, offset)
	clear(m.seq)
	clear(m.open)
	// As the store would: otherwise a crash may bring nothing back, at offset 0.
	m.ok(m.log.Sync(offset))
	m.point, m.pointStart, m.pointHW = m.log.RecoveryPoint(), offset, offset
	m.ok(m.mem.SyncDir("/logs/t-0"))
}

func (m *model) retain() {
	if m.rng.IntN(2) == 0 && m.hw > m.start {
		m.start += m.rng.Int64N(m.hw - m.start + 1)
		m.ok(m.log.AdvanceStartOffset(m.start))
		m.note("start %d", m.start)
	}
	cfg := *m.o.Config
	cfg.RetentionBytes = int64(m.rng.IntN(6000))
	m.log.SetConfig(&cfg)
	size := m.log.Size()
	n, err := m.log.DeleteExpired(time.UnixMilli(m.now))
	m.ok(err)
	m.log.SetConfig(m.o.Config)
	m.note("retain %d bytes: %d segments", cfg.RetentionBytes, n)
	if m.log.Size() < cfg.RetentionBytes && n > 0 && m.log.BaseOffset() > m.start {
		m.fatalf("of %d bytes %d are left, %d were to be", size, m.log.Size(), cfg.RetentionBytes)
	}
	if m.log.StartOffset() > m.hw {
		m.fatalf("retention went past the high watermark %d, to %d", m.hw, m.log.StartOffset())
	}
	m.start = max(m.start, m.log.StartOffset())
	m.maxStart = max(m.maxStart, m.start)
	if m.rng.IntN(2) == 0 {
		waiting, err := m.log.PurgeDeleted(time.Now().Add(time.Hour))
		if err != nil || waiting > 0 {
			m.fatalf("purge: %d wait, %v", waiting, err)
		}
	}
}

func (m *model) closeAndOpen() {
	m.ok(m.log.Close(context.Background()))
	m.note("close")
	if m.mem.OpenFiles() != 0 {
		m.fatalf("%d files are open after Close", m.mem.OpenFiles())
	}
	checkClosed(m.t, m.mem, "/logs/t-0", m.start, m.end)
	if m.t.Failed() {
		m.fatalf("after closing")
	}
	// A clean shutdown survives a power loss entirely.
	m.mem = m.mem.Crash(m.rng)
	m.openLog(true)
	m.synced = m.end
	m.point, m.pointStart, m.pointHW = m.end, m.start, m.hw
}

func (m *model) kill() {
	m.log.Abandon()
	m.mem = m.mem.Kill()
	m.note("kill")
	m.openLog(false)
	if m.log.EndOffset() != m.end {
		m.fatalf("after a kill the log ends at %d, not %d", m.log.EndOffset(), m.end)
	}
	m.start, m.hw = m.log.StartOffset(), m.log.HighWatermark()
	m.resume()
}

func (m *model) crash() {
	m.log.Abandon()
	m.mem = m.mem.Crash(m.rng)
	m.note("crash (synced %d, point %d)", m.synced, m.point)
	m.openLog(false)
	end := m.log.EndOffset()
	if end < m.synced || end > m.end {
		m.fatalf("after a power loss the log ends at %d; %d were synced, %d written", end, m.synced, m.end)
	}
	if end < m.end {
		m.cut(end)
		if m.log.StartOffset() == end {
			m.end = end // nothing is left, and the start is remembered
		}
		if m.end != end {
			m.fatalf("after a power loss the log ends at %d, in the middle of a batch", end)
		}
	}
	m.start, m.hw = m.log.StartOffset(), m.log.HighWatermark()
	m.synced = m.log.SyncedOffset()
	m.resume()
}

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
