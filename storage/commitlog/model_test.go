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

	"github.com/gracchus-mq/gracchus/internal/seeds"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// This test does random operations to a log and to a model of it, which is no
// more than a list of batches, and compares the two: what can be read, the
// indexes, the leader epochs, the aborted transactions, the producers. Now and
// then the process is killed, or the power fails. After a kill everything is
// there; after a power loss a beginning of the log that holds at least what was
// synced.
//
// A failure names its seed: run it alone with GRACCHUS_POWERLOSS_SEEDS=1 and
// GRACCHUS_POWERLOSS_FROM=seed, which choose how many seeds are tried and where they
// begin. What a full disk adds is in model_full_test.go.

func TestModel(t *testing.T) {
	eachSeed(t, 60, 20, func(t *testing.T, seed uint64) { newModel(t, seed).run(120) })
}

// eachSeed runs a test for so many seeds, unless the environment wants others.
func eachSeed(t *testing.T, usual, short uint64, test func(t *testing.T, seed uint64)) {
	if testing.Short() {
		usual = short
	}
	from, n := seeds.PowerLoss(t, 0, usual)
	for i := range n {
		t.Run(fmt.Sprintf("seed=%d", from+i), func(t *testing.T) {
			t.Parallel()
			test(t, from+i)
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

	scarce  bool // the disk is full now and then
	refused int  // operations for which there was no room

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
	for m.noRoom(err) {
		m.makeRoom()
		l, err = Open(o)
	}
	if err != nil {
		m.fatalf("open: %v", err)
	}
	m.log = l
	m.t.Cleanup(l.Abandon)
	if !clean { // as the store does before anything is appended
		m.point, m.pointStart = min(m.point, l.RecoveryPoint()), min(m.pointStart, l.StartOffset())
	}
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
		m.tighten()
		switch n := m.rng.IntN(100); {
		case n < 45:
			m.appendAsLeader()
		case n < 55:
			m.appendAsFollower()
		case n < 63:
			m.sync()
		case n < 65:
			m.checkpoint()
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
		b.SetProducer(pid, 0, m.seq[pid]).SetTransactional(true)
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
	if m.noRoom(err) {
		m.checkTakenBack()
		return
	}
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
	if m.noRoom(err) {
		m.resume()
		m.checkTakenBack()
		return
	}
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
	err := m.log.Sync(upTo)
	m.note("sync %d", upTo)
	if m.noRoom(err) {
		return
	}
	m.ok(err)
	if m.log.SyncedOffset() < min(upTo, m.end) {
		m.fatalf("synced offset is %d after Sync(%d)", m.log.SyncedOffset(), upTo)
	}
	m.synced = max(m.synced, min(upTo, m.end))
}

func (m *model) checkpoint() {
	err := m.log.Checkpoint()
	m.note("checkpoint the log")
	if m.noRoom(err) {
		return
	}
	m.ok(err)
	if m.log.SyncedOffset() != m.end || m.log.RecoveryPoint() != m.end || m.log.Unchecked() != 0 {
		m.fatalf("after a checkpoint at %d: synced %d, recovery point %d, %d bytes to check", m.end, m.log.SyncedOffset(), m.log.RecoveryPoint(), m.log.Unchecked())
	}
	m.synced = m.end
	if m.rng.IntN(2) == 0 { // the store's next pass
		m.point, m.pointStart, m.pointHW = m.log.RecoveryPoint(), m.log.StartOffset(), m.log.HighWatermark()
	}
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
	if i, _ := slices.BinarySearchFunc(m.batches, offset, func(b modelBatch, o int64) int { return int(b.last - o) }); offset < m.end {
		known := m.log.BaseOffset()
		if i > 0 {
			known = max(known, m.batches[i-1].next())
		}
		offset = min(offset, known)
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
	err := m.log.Sync(offset)
	for m.noRoom(err) {
		m.makeRoom()
		err = m.log.Sync(offset)
	}
	m.ok(err)
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
	m.log.SetConfig(m.o.Config)
	if m.noRoom(err) {
		return
	}
	m.ok(err)
	m.note("retain %d bytes: %d segments", cfg.RetentionBytes, n)
	if !m.scarce && m.log.Size() < cfg.RetentionBytes && n > 0 && m.log.BaseOffset() > m.start {
		m.fatalf("of %d bytes %d are left, %d were to be", size, m.log.Size(), cfg.RetentionBytes)
	}
	if m.log.StartOffset() > m.hw {
		m.fatalf("retention went past the high watermark %d, to %d", m.hw, m.log.StartOffset())
	}
	m.start = max(m.start, m.log.StartOffset())
	m.maxStart = max(m.maxStart, m.start)
	if m.rng.IntN(2) == 0 {
		waiting, err := m.log.PurgeDeleted(time.Now().Add(time.Hour), false)
		if err != nil || waiting > 0 {
			m.fatalf("purge: %d wait, %v", waiting, err)
		}
	}
}

func (m *model) closeAndOpen() {
	err := m.log.Close(context.Background())
	m.note("close")
	for m.noRoom(err) {
		if m.rng.IntN(2) == 0 { // a log that could not be closed is as good as any
			return
		}
		m.makeRoom()
		err = m.log.Close(context.Background())
	}
	m.ok(err)
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
