package cleaner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// world is a compacted log on a file system that can lose its power, and a model of all
// that was ever appended to it. Its clock is its own, so that a seed does the same thing
// again.
type world struct {
	rng    *rand.Rand
	mem    *vfs.Mem
	image  *vfs.Mem   // what is left, once the power is gone
	left   int        // file operations until the power goes; < 0: it stays
	odds   *rand.Rand // of what is left then
	cfg    *config.Topic
	limits config.Cleaner
	files  *commitlog.FileCache
	log    *commitlog.Log
	clock  int64
	trace  []string

	records []entry // by offset
	batches []batch
	synced  int64
	// What the checkpoint files would say.
	point, cleaned int64
	// firstPass is when a compaction was first begun that may have met what was in the
	// log then, by the log's end: tombstones get their horizon there.
	passes []passAt
	next   map[int64]int32 // sequence number of each producer
	open   map[int64]int64 // first offset of each transaction that is open
	aborts map[int64]bool  // markers that abort
	epoch  int16           // of all producers
}

type passAt struct{ end, clock int64 }

// entry is a record as it was appended.
type entry struct {
	key, value  []byte
	timestamp   int64
	header      string
	transaction bool
	aborted     bool // once its marker is there
	control     bool
	batch       int
}

// batch is the header of one as it was appended.
type batch struct {
	record.Batch // without its records
	records      int
}

func newWorld(seed uint64) *world {
	w := &world{
		rng:     rand.New(rand.NewPCG(seed, 0x636c65616e)),
		mem:     vfs.NewMem(),
		left:    -1,
		files:   commitlog.NewFileCache(3),
		clock:   1_700_000_000_000,
		next:    map[int64]int32{},
		open:    map[int64]int64{},
		aborts:  map[int64]bool{},
		cleaned: -1,
	}
	pick := func(of ...int) int { return of[w.rng.IntN(len(of))] }
	w.cfg = &config.Topic{
		SegmentBytes:       int32(pick(400, 1000, 4000)),
		SegmentMS:          math.MaxInt64,
		SegmentIndexBytes:  int32(pick(48, 96, 1200)),
		IndexIntervalBytes: int32(pick(0, 100, 400)),
		FlushMessages:      math.MaxInt64,
		FlushMS:            math.MaxInt64,
		RetentionMS:        -1,
		RetentionBytes:     -1,
		MaxMessageBytes:    1 << 20,
		CompressionType:    "producer",
		Compact:            true,
		DeleteRetentionMS:  int64(pick(0, 1000, 100_000)),
		MaxCompactionLagMS: math.MaxInt64,
		FileDeleteDelayMS:  int64(pick(0, 1000)),
	}
	w.limits = config.Cleaner{
		Enable: true, Threads: 1, DedupeLoadFactor: 0.9, IOBytes: pick(1, 20_000),
		DedupeBytes: int64(pick(3*slotBytes, 10*slotBytes, 1<<20)),
	}
	return w
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

func (w *world) end() int64 { return int64(len(w.records)) }

// openLog opens what is in w.mem.
func (w *world) openLog() error {
	faults := vfs.NewFaults(w.mem)
	faults.Inject(func(c vfs.Call) error {
		if w.left != 0 {
			w.left--
			return nil
		}
		if w.image == nil {
			w.note("power goes before %s %s", c.Op, c.Name)
			w.image = w.mem.Crash(w.odds)
		}
		return vfs.ErrInjected
	})
	if err := errors.Join(faults.MkdirAll("/d/t-0", 0o755), faults.SyncDir("/d"), faults.SyncDir("/")); err != nil {
		return err
	}
	log, err := commitlog.Open(commitlog.Options{
		FS: faults, Dir: "/d/t-0", Partition: protocol.TopicPartition{Topic: "t"}, Config: w.cfg, Files: w.files,
		ProducerIDExpiration: 100 * 365 * 24 * time.Hour, RecoveryPoint: w.point, HighWatermark: 0, CleanedOffset: w.cleaned,
	})
	if err != nil {
		return err
	}
	w.log = log
	return nil
}

func (w *world) step() error {
	switch n := w.rng.IntN(100); {
	case n < 55:
		return w.append()
	case n < 63:
		return w.endTransaction()
	case n < 68:
		w.note("sync at %d", w.end())
		if err := w.log.Sync(w.end()); err != nil {
			return err
		}
		w.synced = w.end()
		if w.rng.IntN(2) == 0 {
			w.point = w.log.RecoveryPoint()
		}
		return nil
	case n < 75:
		w.note("high watermark %d", w.log.AdvanceHighWatermark(w.end()))
		return nil
	case n < 80:
		w.clock += w.rng.Int64N(2 * (w.cfg.DeleteRetentionMS + 1))
		w.note("clock %d", w.clock)
		return nil
	case n < 82:
		w.note("purge")
		_, err := w.log.PurgeDeleted(time.Now(), true)
		return err
	case n < 84:
		return w.check()
	}
	return w.compact()
}

var codecs = []record.Codec{record.None, record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd}

func (w *world) append() error {
	b := record.NewBuilder().SetCodec(codecs[w.rng.IntN(len(codecs))], record.DefaultLevel)
	producer := int64(w.rng.IntN(4)) - 1 // −1: none
	var e entry
	if producer >= 0 {
		b.SetProducer(producer, w.epoch, w.next[producer])
		_, isOpen := w.open[producer]
		if e.transaction = isOpen || w.rng.IntN(2) == 0; e.transaction {
			b.SetTransactional(true)
		}
	}
	if w.rng.IntN(8) == 0 {
		b.SetLogAppendTime(w.clock)
	}
	first := w.end()
	n := 1 + w.rng.IntN(4)
	for range n {
		e := e
		e.batch = len(w.batches)
		e.key = fmt.Appendf(nil, "key-%d", w.rng.IntN(12))
		if w.rng.IntN(5) > 0 {
			e.value = fmt.Appendf(nil, "%d-%0*d", len(w.records), w.rng.IntN(40), 0)
		}
		e.timestamp = w.clock + w.rng.Int64N(50) - 5
		e.header = fmt.Sprint(w.rng.IntN(3))
		b.Append(e.timestamp, e.key, e.value, record.Header{Key: []byte("h"), Value: []byte(e.header)})
		w.records = append(w.records, e)
	}
	built, err := b.Build()
	if err != nil {
		return err
	}
	if built.TimestampType() == record.LogAppendTime {
		for i := range w.records[first:] {
			w.records[int(first)+i].timestamp = w.clock
		}
	}
	if err := w.write(built, n); err != nil {
		return err
	}
	if producer >= 0 {
		w.next[producer] += int32(n)
		if _, isOpen := w.open[producer]; e.transaction && !isOpen {
			w.open[producer] = first
		}
	}
	w.clock += w.rng.Int64N(20)
	return nil
}

// write appends what is in the model already.
func (w *world) write(b record.Batch, records int) error {
	b.SetBaseOffset(w.end() - int64(records))
	b.SetLeaderEpoch(7)
	w.batches = append(w.batches, batch{slices.Clone(b[:record.HeaderSize]), records})
	w.note("append %d…%d, %v, producer %d, transactional %v", b.BaseOffset(), b.LastOffset(), b.Codec(), b.ProducerID(), b.IsTransactional())
	_, err := w.log.AppendAsLeader(b, 7, record.Coordinator)
	return err
}

func (w *world) endTransaction() error {
	if len(w.open) == 0 {
		return nil
	}
	producers := slices.Sorted(maps.Keys(w.open))
	producer := producers[w.rng.IntN(len(producers))]
	at, abort := w.end(), w.rng.IntN(2) == 0
	w.aborts[at] = abort
	w.endTxn(producer, w.open[producer], at, abort)
	w.records = append(w.records, entry{control: true, timestamp: w.clock, transaction: true, batch: len(w.batches)})
	return w.write(record.EndTxnMarker(producer, w.epoch, 1, !abort, w.clock), 1)
}

func (w *world) endTxn(producer, first, marker int64, abort bool) {
	for i := first; i < marker && abort; i++ {
		e := &w.records[i]
		e.aborted = e.aborted || e.transaction && !e.control && w.batches[e.batch].ProducerID() == producer
	}
	delete(w.open, producer)
}

func (w *world) compact() error {
	c, err := examine(w.log, time.UnixMilli(w.clock), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if c.dirty == 0 && w.rng.IntN(2) == 0 {
		return nil
	}
	w.passes = append(w.passes, passAt{w.end(), w.clock})
	stats, err := newPass(c, w.limits, &throttle{}, time.UnixMilli(w.clock)).run(context.Background(), nil)
	w.note("compact %d to %d: now to %d, %d of %d records left, %v", c.firstDirty, c.limit, stats.To, stats.RecordsLeft, stats.RecordsRead, err)
	if err != nil {
		return err
	}
	if stats.To <= c.firstDirty && c.dirty > 0 {
		return fmt.Errorf("no progress from %d with %d bytes to compact", c.firstDirty, c.dirty)
	}
	if w.rng.IntN(4) > 0 { // else the process ends before it is written down
		w.cleaned = w.log.CleanedOffset()
	}
	w.synced = w.end()
	return w.check()
}

// stored is a record that is in the log.
type stored struct {
	offset    int64
	timestamp int64
	key       []byte
	value     []byte
	header    string
}

// readAll reads the log from its start, and checks that its batches are whole and ascend.
func readAll(log *commitlog.Log) (batches []record.Batch, records []stored, err error) {
	for at := log.StartOffset(); at < log.EndOffset(); {
		r, err := log.Read(at, 300, log.EndOffset(), true)
		if err != nil {
			return nil, nil, fmt.Errorf("read at %d: %w", at, err)
		}
		data, err := r.AppendTo(nil)
		r.Release()
		if err != nil || len(data) == 0 {
			return nil, nil, fmt.Errorf("read at %d: %d bytes, %w", at, len(data), err)
		}
		before := at
		for {
			b, rest, err := record.Next(data)
			if err != nil {
				break // cut off, or the end
			}
			if data = rest; b.LastOffset() < at {
				return nil, nil, fmt.Errorf("batch %d…%d where %d is due", b.BaseOffset(), b.LastOffset(), at)
			}
			if err := b.CheckCRC(); err != nil {
				return nil, nil, err
			}
			batches = append(batches, b)
			for r, err := range b.Records(1 << 20) {
				if err != nil {
					return nil, nil, err
				}
				s := stored{b.Offset(r), b.Timestamp(r), bytes.Clone(r.Key), bytes.Clone(r.Value), ""}
				for h := range r.Headers() {
					s.header = string(h.Value)
				}
				records = append(records, s)
			}
			at = b.NextOffset()
		}
		if at == before {
			return nil, nil, fmt.Errorf("no whole batch at %d", at)
		}
	}
	return batches, records, nil
}

// check compares the log with the model.
func (w *world) check() error {
	batches, records, err := readAll(w.log)
	if err != nil {
		return err
	}
	if end := w.log.EndOffset(); end != w.end() {
		return fmt.Errorf("the log ends at %d instead of %d", end, w.end())
	}
	left := map[int64]bool{}
	for _, s := range records {
		e := w.records[s.offset]
		if s.timestamp != e.timestamp || !e.control && (!bytes.Equal(s.key, e.key) || (s.value == nil) != (e.value == nil) || !bytes.Equal(s.value, e.value) || s.header != e.header) {
			return fmt.Errorf("the record at %d is %+v instead of %+v", s.offset, s, e)
		}
		left[s.offset] = true
	}
	if err := w.checkBatches(batches, left); err != nil {
		return err
	}
	cleaned := w.log.CleanedOffset()
	newest := map[string]int64{}
	for i, e := range w.records {
		if !e.control && !e.aborted {
			newest[string(e.key)] = int64(i)
		}
	}
	// Who needs not be there: an older one of its key, what was aborted, a tombstone
	// whose time is over.
	for i, e := range w.records {
		offset := int64(i)
		gone := e.aborted || offset < newest[string(e.key)] || e.value == nil && w.expired(offset)
		if !left[offset] && !e.control && !gone {
			return fmt.Errorf("the record at %d, the newest of %q (value %v), is gone", offset, e.key, e.value != nil)
		}
	}
	// Who must not be there.
	older := map[string]int64{}
	for i, e := range w.records[:max(cleaned, 0)] {
		if !e.control && !e.aborted {
			older[string(e.key)] = int64(i)
		}
	}
	for i, e := range w.records[:max(cleaned, 0)] {
		if left[int64(i)] && !e.control && (e.aborted || int64(i) < older[string(e.key)]) {
			return fmt.Errorf("the record at %d (aborted %v) is still there, and the log is clean up to %d", i, e.aborted, cleaned)
		}
	}
	return w.checkState(batches, left)
}

// expired reports whether a tombstone may have been dropped.
func (w *world) expired(offset int64) bool {
	for _, p := range w.passes {
		if p.end > offset {
			return p.clock+w.cfg.DeleteRetentionMS <= w.clock
		}
	}
	return false
}

// checkBatches: whatever is left of a batch has its header.
func (w *world) checkBatches(batches []record.Batch, left map[int64]bool) error {
	for _, b := range batches {
		was := w.batches[w.records[b.BaseOffset()].batch]
		newest, count := record.NoTimestamp, int32(0)
		for offset := b.BaseOffset(); offset <= b.LastOffset(); offset++ {
			if left[offset] {
				count++
				newest = max(newest, w.records[offset].timestamp)
			}
		}
		if count == 0 { // what it was when the last record went
			newest = b.MaxTimestamp()
			if !slices.ContainsFunc(w.records[b.BaseOffset():b.LastOffset()+1], func(e entry) bool { return e.timestamp == newest }) {
				return fmt.Errorf("the empty batch at %d has the time %d", b.BaseOffset(), newest)
			}
		}
		if b.Count() == 0 && !b.HasProducerID() && was.HasProducerID() { // holds the end of a segment
			was.Batch = record.AppendFiller(nil, was.Batch)
		}
		if b.BaseOffset() != was.BaseOffset() || b.LastOffset() != was.LastOffset() || b.ProducerID() != was.ProducerID() ||
			b.ProducerEpoch() != was.ProducerEpoch() || b.BaseSequence() != was.BaseSequence() || b.LeaderEpoch() != 7 ||
			b.IsControl() != was.IsControl() || b.IsTransactional() != was.IsTransactional() || b.TimestampType() != was.TimestampType() ||
			count > 0 && b.Codec() != was.Codec() {
			return fmt.Errorf("the batch at %d has another header: %x instead of %x", b.BaseOffset(), b[:record.HeaderSize], was.Batch)
		}
		if b.Count() != count || b.MaxTimestamp() != newest {
			return fmt.Errorf("the batch at %d has %d records up to time %d, instead of %d up to %d", b.BaseOffset(), b.Count(), b.MaxTimestamp(), count, newest)
		}
	}
	return nil
}

// checkState: lookups by time, the producers, and the last stable offset.
func (w *world) checkState(batches []record.Batch, left map[int64]bool) error {
	for _, b := range batches {
		ts := b.MaxTimestamp()
		want := int64(-1)
		for offset := range w.end() {
			if left[offset] && w.records[offset].timestamp >= ts {
				want = offset
				break
			}
		}
		got, _, _, err := w.log.OffsetForTimestamp(ts, w.end())
		if err != nil || got != want {
			return fmt.Errorf("the first record from time %d on is at %d instead of %d, %v", ts, got, want, err)
		}
	}
	for _, p := range w.log.Producers() {
		if p.LastSequence()+1 != w.next[p.ID] {
			return fmt.Errorf("producer %d has sequence number %d next instead of %d", p.ID, p.LastSequence()+1, w.next[p.ID])
		}
	}
	if got := len(w.log.Producers()); got != len(w.next) {
		return fmt.Errorf("%d producers instead of %d", got, len(w.next))
	}
	stable := w.log.HighWatermark()
	for _, first := range w.open {
		stable = min(stable, first)
	}
	if got := w.log.LastStableOffset(); got > stable {
		return fmt.Errorf("last stable offset %d instead of %d", got, stable)
	}
	if w.log.HighWatermark() == w.end() && w.log.LastStableOffset() != stable {
		return fmt.Errorf("last stable offset %d is stuck before %d", w.log.LastStableOffset(), stable)
	}
	return nil
}
