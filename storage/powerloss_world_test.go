package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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

// world is a Store on a file system that can lose its power, and a model of
// what must and what may be in it. Nothing runs in the background and nothing
// depends on the clock, so that a seed does the same thing again.
type world struct {
	rng   *rand.Rand
	mem   *vfs.Mem
	image *vfs.Mem // what is left, once the power is gone
	dirs  []string
	topic *config.Topic
	store *Store
	parts map[protocol.TopicPartition]*part
	clock int64 // ms, of the records
	value int   // makes records differ
	trace []string

	left int        // file operations until the power goes; < 0: it stays
	odds *rand.Rand // of what is left then

	// fault, if set, is asked before every file operation whether it fails.
	fault   func(vfs.Call) error
	faulted bool
	// lossy: an fsync has failed. The page cache goes on showing what will never
	// reach the disk, to the next process too, which takes it for written and
	// builds on it. No broker that reads its log through the page cache is safe
	// from that before the machine has been restarted.
	lossy bool
}

// part is what the model knows of a partition.
type part struct {
	gone    bool // Delete has returned
	unsure  bool // creation or deletion may not have reached the disk
	id      protocol.TopicID
	history []history // of what the log held, forked by every truncation; the last one is current
	synced  int64     // everything in the current history below is promised
	start   int64     // the log start offset is not above
	cutting bool      // a truncation is under way
	// restarted: everything was dropped and nothing has been synced since, so
	// that there may be nothing.
	restarted bool
	lost      bool // it is in a directory that has failed
	epoch     int32
	next      map[int64]int32 // next sequence per producer id
}

// history is a run of batches without gaps, from some offset on.
type history struct {
	from    int64
	batches []record.Batch
}

func (h *history) end() int64 {
	if n := len(h.batches); n > 0 {
		return h.batches[n-1].NextOffset()
	}
	return h.from
}

// at returns the batch with that base offset.
func (h *history) at(base int64) (record.Batch, bool) {
	i, found := slices.BinarySearchFunc(h.batches, base, func(b record.Batch, base int64) int { return cmp.Compare(b.BaseOffset(), base) })
	if !found {
		return nil, false
	}
	return h.batches[i], true
}

// upTo returns the batches that end at or before offset.
func (h *history) upTo(offset int64) history {
	i := 0
	for i < len(h.batches) && h.batches[i].NextOffset() <= offset {
		i++
	}
	return history{min(h.from, offset), slices.Clone(h.batches[:i])}
}

func (p *part) current() *history { return &p.history[len(p.history)-1] }

func newWorld(seed uint64) *world {
	w := &world{
		rng:   rand.New(rand.NewPCG(seed, 0x67726163)),
		mem:   vfs.NewMem(),
		parts: map[protocol.TopicPartition]*part{},
		clock: 1_700_000_000_000,
		left:  -1,
	}
	for i := range 1 + w.rng.IntN(3) {
		w.dirs = append(w.dirs, fmt.Sprintf("/data/%d", i))
	}
	pick := func(of ...int64) int64 { return of[w.rng.IntN(len(of))] }
	w.topic = &config.Topic{
		SegmentBytes:       int32(pick(500, 1000, 5000)),
		SegmentMS:          math.MaxInt64,
		SegmentIndexBytes:  int32(pick(24, 96, 1200)),
		IndexIntervalBytes: int32(pick(0, 100, 400)),
		FlushMessages:      pick(1, math.MaxInt64),
		FlushMS:            math.MaxInt64,
		RetentionMS:        -1,
		RetentionBytes:     pick(-1, 500, 2000),
		Delete:             true,
		MaxMessageBytes:    1 << 20,
		CompressionType:    "producer",
		Preallocate:        w.rng.IntN(4) == 0,
	}
	return w
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

// open opens the Store on what is in w.mem.
func (w *world) open() error {
	faults := vfs.NewFaults(w.mem)
	faults.Inject(w.inject)
	store, err := w.openOn(faults)
	w.store = store
	return err
}

// inject is asked before every file operation. When the power goes, what is
// left is in w.image, and everything fails from then on.
func (w *world) inject(c vfs.Call) error {
	if w.left != 0 {
		w.left--
		if w.fault != nil {
			return w.fault(c)
		}
		return nil
	}
	if w.image == nil {
		w.note("power goes before %s %s", c.Op, c.Name)
		w.image = w.mem.Crash(w.odds)
	}
	return vfs.ErrInjected
}

func (w *world) openOn(fsys vfs.FS) (*Store, error) {
	s, err := Open(Config{
		Storage:            config.Storage{Dirs: w.dirs},
		ProducerExpiration: 100 * 365 * 24 * time.Hour,
		LoadWorkers:        1,
	}, fsys, commitlog.NewFileCache(4), nil)
	if err != nil {
		return nil, err
	}
	if err := s.Identify(1, "c"); err != nil {
		return nil, err
	}
	if err := s.Load(context.Background(), func(string) *config.Topic { return w.topic }); err != nil {
		return nil, err
	}
	for _, d := range s.dirs {
		if !d.online() && w.fault == nil {
			return nil, d.cause()
		}
	}
	return s, nil
}

// step does one random thing.
func (w *world) step() error {
	name := protocol.TopicPartition{Topic: "t", Partition: int32(w.rng.IntN(4))}
	p := w.parts[name]
	if p == nil || p.gone {
		return w.create(name)
	}
	log, ok := w.store.Log(name)
	if !ok && p.lost {
		return nil
	}
	if !ok {
		return fmt.Errorf("%v is not there", name)
	}
	switch n := w.rng.IntN(100); {
	case n < 60:
		return w.append(name, p, log)
	case n < 68:
		return w.sync(name, p, log, log.EndOffset())
	case n < 74:
		hw := log.AdvanceHighWatermark(log.StartOffset() + w.rng.Int64N(log.EndOffset()-log.StartOffset()+1))
		w.note("%v: high watermark %d", name, hw)
		return nil
	case n < 77:
		return w.advanceStart(name, p, log)
	case n < 80:
		return w.retain()
	case n < 83:
		return w.truncate(name, p, log)
	case n < 84:
		return w.restart(name, p, log)
	case n < 86:
		p.epoch++
		w.note("%v: epoch %d", name, p.epoch)
		return log.AssignLeaderEpoch(p.epoch)
	case n < 88:
		return w.delete(name, p)
	case n < 95:
		return w.maintain()
	case n < 97 && w.lossy:
		return nil
	case n < 96:
		return w.restartCleanly()
	case n < 97:
		return w.kill()
	default:
		if !log.SealedUnsynced() {
			return nil
		}
		return w.sync(name, p, log, log.SyncedOffset()+1)
	}
}

func (w *world) create(name protocol.TopicPartition) error {
	var id protocol.TopicID
	for i := range id {
		id[i] = byte(w.rng.Uint32())
	}
	p := &part{unsure: true, id: id, history: make([]history, 1), next: map[int64]int32{}}
	if old := w.parts[name]; old != nil && !old.gone {
		return errors.New("created twice")
	}
	w.parts[name] = p
	w.note("create %v", name)
	log, err := w.store.Create(name, id, w.topic, true)
	if err != nil {
		return err
	}
	if log.EndOffset() != 0 || log.TopicID() != id {
		return fmt.Errorf("new log of %v ends at %d and has id %v", name, log.EndOffset(), log.TopicID())
	}
	return nil
}

func (w *world) append(name protocol.TopicPartition, p *part, log *commitlog.Log) error {
	b := record.NewBuilder()
	w.clock += int64(w.rng.IntN(20)) - 2
	records := 1 + w.rng.IntN(4)
	producer := int64(w.rng.IntN(4)) - 1 // -1: none
	if producer >= 0 {
		b.SetProducer(producer, 0, p.next[producer])
	}
	for range records {
		w.value++
		b.Append(w.clock, nil, fmt.Appendf(nil, "%d-%0*d", w.value, w.rng.IntN(60), 0))
	}
	batch, err := b.Build()
	if err != nil {
		return err
	}
	h := p.current()
	sent := slices.Clone(batch) // what is left on the disk if the append fails half-way
	sent.SetBaseOffset(h.end())
	sent.SetLeaderEpoch(p.epoch)
	h.batches = append(h.batches, sent)
	info, err := log.AppendAsLeader(batch, p.epoch, record.Client)
	if err != nil {
		return fmt.Errorf("append to %v: %w", name, err)
	}
	if info.FirstOffset != sent.BaseOffset() || info.LastOffset != sent.LastOffset() || info.Duplicate {
		return fmt.Errorf("append to %v at %d: %+v", name, sent.BaseOffset(), info)
	}
	p.next[producer] += int32(records)
	w.note("%v: append %d…%d", name, info.FirstOffset, info.LastOffset)
	if w.topic.FlushMessages == 1 {
		return w.sync(name, p, log, info.LastOffset+1)
	}
	return nil
}

func (w *world) sync(name protocol.TopicPartition, p *part, log *commitlog.Log, upTo int64) error {
	w.note("%v: sync up to %d", name, upTo)
	if err := log.Sync(upTo); err != nil {
		return fmt.Errorf("sync %v: %w", name, err)
	}
	if log.SyncedOffset() < min(upTo, log.EndOffset()) {
		return fmt.Errorf("%v synced up to %d, not %d", name, log.SyncedOffset(), upTo)
	}
	if len(p.current().batches) > 0 { // else nothing was promised
		p.synced = max(p.synced, log.SyncedOffset())
		p.unsure, p.restarted = false, false
	}
	return nil
}

func (w *world) advanceStart(name protocol.TopicPartition, p *part, log *commitlog.Log) error {
	to := log.StartOffset() + w.rng.Int64N(log.HighWatermark()-log.StartOffset()+1)
	w.note("%v: delete records before %d", name, to)
	p.start = max(p.start, to)
	return log.AdvanceStartOffset(to)
}

// retain is a retention pass.
func (w *world) retain() error {
	for _, h := range w.logs() {
		p := w.parts[h.tp]
		before := p.start
		p.start = max(p.start, h.log.HighWatermark())
		n, err := h.log.DeleteExpired(time.Now())
		if err != nil {
			return fmt.Errorf("retention of %v: %w", h.tp, err)
		}
		p.start = max(before, h.log.StartOffset())
		w.note("%v: retention drops %d segments, starts at %d", h.tp, n, h.log.StartOffset())
	}
	return nil
}

func (w *world) truncate(name protocol.TopicPartition, p *part, log *commitlog.Log) error {
	h := p.current()
	if len(h.batches) == 0 {
		return nil
	}
	to := h.batches[w.rng.IntN(len(h.batches))].BaseOffset()
	if to < log.StartOffset() {
		return nil
	}
	w.note("%v: truncate to %d", name, to)
	w.fork(p, h.upTo(to))
	err := log.TruncateTo(to)
	p.cutting = err != nil
	if err != nil {
		return fmt.Errorf("truncate %v: %w", name, err)
	}
	return nil
}

func (w *world) restart(name protocol.TopicPartition, p *part, log *commitlog.Log) error {
	to := log.EndOffset() + w.rng.Int64N(20)
	w.note("%v: drop everything and start at %d", name, to)
	p.start = max(p.start, to)
	w.fork(p, history{from: to})
	p.synced, p.restarted = 0, true
	err := log.TruncateFullyAndStartAt(to)
	p.cutting = err != nil
	if err != nil {
		return fmt.Errorf("restart %v: %w", name, err)
	}
	return nil
}

// fork begins another history.
func (w *world) fork(p *part, h history) {
	p.synced = min(p.synced, h.end())
	p.cutting = true
	p.history = append(p.history, h)
	clear(p.next)
	for _, b := range h.batches {
		if b.HasProducerID() {
			p.next[b.ProducerID()] = b.LastSequence() + 1
		}
	}
}

func (w *world) delete(name protocol.TopicPartition, p *part) error {
	w.note("delete %v", name)
	p.unsure = true
	if err := w.store.Delete(name); err != nil {
		p.lost = true
		return err
	}
	p.gone, p.unsure = true, false
	return nil
}

// maintain does what the background would do.
func (w *world) maintain() error {
	d := w.store.dirs[w.rng.IntN(len(w.store.dirs))]
	switch n := w.rng.IntN(10); {
	case n < 8:
		kind := checkpointKind(n / 2)
		w.note("checkpoint %s in %s", checkpointFiles[kind], d.path)
		return d.checkpoints.update(kind)
	case n == 8:
		w.note("remove deleted partitions of %s", d.path)
		return w.store.removeDeleted(d, time.Now().Add(time.Hour))
	}
	w.note("purge %s", d.path)
	for _, h := range w.logs() {
		if _, err := h.log.PurgeDeleted(time.Now().Add(time.Hour)); err != nil {
			return err
		}
	}
	return nil
}

// restartCleanly stops the Store and opens it again.
func (w *world) restartCleanly() error {
	w.note("stop")
	if err := w.store.Stop(context.Background()); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	for _, p := range w.parts {
		if !p.gone && !p.lost {
			p.unsure, p.restarted, p.synced = false, false, p.current().end()
		}
	}
	w.note("start")
	return w.reopen()
}

// kill is kill -9: what was written stays, synced or not.
func (w *world) kill() error {
	w.note("kill -9 and start")
	w.mem = w.mem.Kill()
	return w.reopen()
}

// reopen opens the Store after an end that must not lose anything.
func (w *world) reopen() error {
	if err := w.open(); err != nil {
		return err
	}
	for name, p := range w.parts {
		log, ok := w.store.Log(name)
		if !ok && len(w.retireFailed()) > 0 {
			p.lost = true
			continue
		}
		if w.leftover(p, log) {
			continue
		}
		if !ok && p.unsure && p.lost { // its deletion failed half-way
			p.gone, p.lost = true, false
			continue
		}
		if ok == p.gone {
			return fmt.Errorf("%v: there is %v, gone %v", name, ok, p.gone)
		}
		if !ok {
			continue
		}
		if w.faulted { // the last append may have failed, and be there or not
			if err := p.check(log); err != nil {
				return fmt.Errorf("%v: %w", name, err)
			}
			continue
		}
		if log.EndOffset() != p.current().end() {
			return fmt.Errorf("%v ends at %d instead of %d", name, log.EndOffset(), p.current().end())
		}
		if err := log.SetTopicID(p.id); err != nil { // as the controller will have it
			return err
		}
	}
	return nil
}

// leftover reports whether log is what a creation that a fault has cut short
// left of a partition that was then created, and deleted, elsewhere. It is
// harmless: empty, and without an id, so that it serves when the partition is
// created again.
func (w *world) leftover(p *part, log *commitlog.Log) bool {
	return w.faulted && p.gone && log != nil && log.EndOffset() == 0 && log.TopicID().IsZero()
}

// logs returns the logs in the order of their names.
func (w *world) logs() []*hosted {
	logs := w.store.snapshot(nil, nil)
	slices.SortFunc(logs, func(a, b *hosted) int { return a.tp.Compare(b.tp) })
	return logs
}
