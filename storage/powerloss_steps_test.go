package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

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
	case n < 70:
		w.note("%v: checkpoint of the log", name)
		if err := log.Checkpoint(); err != nil {
			return fmt.Errorf("checkpoint of %v: %w", name, err)
		}
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
		p.gone = vfs.NoRoom(err) && w.image == nil // else part of it may be there, in a directory before
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
	if vfs.NoRoom(err) { // then nothing is left
		h.batches = h.batches[:len(h.batches)-1]
	}
	if err != nil {
		return fmt.Errorf("append to %v: %w", name, err)
	}
	if info.FirstOffset != sent.BaseOffset() || info.LastOffset != sent.LastOffset() || info.Duplicate {
		return fmt.Errorf("append to %v at %d: %+v", name, sent.BaseOffset(), info)
	}
	p.cutting = false
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
	p.cutting = err != nil || w.scarce // until something is appended
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
	p.cutting = err != nil || w.scarce
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
	if d.room.full.Load() && w.rng.IntN(2) == 0 {
		w.note("make room in %s", d.path)
		return w.store.makeRoom(d, time.Now())
	}
	switch n := w.rng.IntN(10); {
	case n < 8:
		kind := checkpointKind(n / 2)
		w.note("checkpoint %s in %s", checkpointFiles[kind], d.path)
		return d.checkpoints.update(kind)
	case n == 8:
		w.note("remove deleted partitions of %s", d.path)
		return w.store.removeDeleted(d, time.Now().Add(time.Hour), 0)
	}
	w.note("purge %s", d.path)
	for _, h := range w.logs() {
		if _, err := h.log.PurgeDeleted(time.Now().Add(time.Hour), false); err != nil {
			return err
		}
	}
	return nil
}

// restartCleanly stops the Store and opens it again.
func (w *world) restartCleanly() error {
	w.note("stop")
	err := w.store.Stop(context.Background())
	if w.noRoom(err) {
		return w.kill() // as good as that
	}
	if err != nil {
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
