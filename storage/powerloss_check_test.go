package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// claims reads the checkpoints that the power loss has left.
func (w *world) claims() (map[string]*lines, error) {
	all := map[string]*lines{}
	for _, dir := range w.dirs {
		var l lines
		for kind, file := range checkpointFiles {
			data, err := vfs.ReadFile(w.image, dir+"/"+file, 1<<20)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if l[kind], err = parseCheckpoint(data); err != nil {
				return nil, fmt.Errorf("%s/%s after the power loss: %w", dir, file, err)
			}
		}
		all[dir] = &l
	}
	return all, nil
}

// checkMarkers: where there is a clean-shutdown marker, opening without
// recovery finds the same as recovery does.
func (w *world) checkMarkers() error {
	found := false
	stripped := w.image.Kill()
	for _, dir := range w.dirs {
		err := stripped.Remove(dir + "/" + cleanShutdownFile)
		found = found || err == nil
	}
	if !found {
		return nil
	}
	w.note("there are clean-shutdown markers")
	trusting, err := w.openOn(w.image.Kill())
	if err != nil {
		return fmt.Errorf("trusting the marker: %w", err)
	}
	recovering, err := w.openOn(stripped)
	if err != nil {
		return fmt.Errorf("without the marker: %w", err)
	}
	for name, log := range recovering.Logs() {
		other, ok := trusting.Log(name)
		if !ok || log.StartOffset() != other.StartOffset() || log.EndOffset() != other.EndOffset() || log.Size() != other.Size() {
			return fmt.Errorf("the marker claims that %v is [%d, %d), and recovery finds [%d, %d)", name,
				other.StartOffset(), other.EndOffset(), log.StartOffset(), log.EndOffset())
		}
		a, aerr := readAll(log)
		b, berr := readAll(other)
		if aerr != nil || berr != nil || !bytes.Equal(join(a), join(b)) {
			return fmt.Errorf("the marker vouches for other records of %v: %v, %v", name, aerr, berr)
		}
	}
	return nil
}

// check compares the recovered Store with the model, and brings the model into
// line with what has survived.
func (w *world) check(claims map[string]*lines) error {
	for name, p := range w.parts {
		log, ok := w.store.Log(name)
		switch {
		case w.leftover(p, log):
			continue
		case ok && p.gone:
			return fmt.Errorf("%v was deleted and is back", name)
		case !ok && !p.gone && !p.unsure:
			return fmt.Errorf("%v is gone", name)
		case !ok:
			p.gone, p.unsure = true, false
			continue
		}
		if err := p.check(log); err != nil {
			return fmt.Errorf("%v after the power loss: %w", name, err)
		}
		for dir, l := range claims {
			if log.Dir() != dir+"/"+name.String() {
				continue
			}
			if claim, ok := l[recoveryPoints][name]; ok && claim > log.EndOffset() && !p.cutting && !p.restarted {
				return fmt.Errorf("%v ends at %d and has the recovery point %d", name, log.EndOffset(), claim)
			}
			if claim, ok := l[logStarts][name]; ok && claim > log.EndOffset() && !p.cutting {
				return fmt.Errorf("%v ends at %d and has the start offset %d", name, log.EndOffset(), claim)
			}
		}
		p.unsure, p.cutting, p.restarted = false, false, false
		w.note("%v is [%d, %d)", name, log.StartOffset(), log.EndOffset())
	}
	for name := range w.store.Logs() {
		if w.parts[name] == nil {
			return fmt.Errorf("%v has come from nowhere", name)
		}
	}
	return nil
}

func (p *part) check(log *commitlog.Log) error {
	start, end := log.StartOffset(), log.EndOffset()
	if start > p.start {
		return fmt.Errorf("it starts at %d, and nobody asked for more than %d", start, p.start)
	}
	if end < p.synced {
		return fmt.Errorf("it ends at %d, and everything up to %d was synced", end, p.synced)
	}
	if hw := log.HighWatermark(); hw < start || hw > end {
		return fmt.Errorf("high watermark %d outside [%d, %d]", hw, start, end)
	}
	batches, err := readAll(log)
	if err != nil {
		return err
	}
	h, err := p.match(start, end, batches)
	if err != nil && p.restarted && start == end {
		h, err = history{from: end}, nil // everything was to be dropped, and is
	}
	if err != nil {
		return err
	}
	for offset := start; offset < p.synced; {
		want, ok := p.current().at(offset)
		if !ok {
			offset++ // inside a batch that the start offset cuts
			continue
		}
		if got, ok := h.at(offset); !ok || !bytes.Equal(got, want) {
			return fmt.Errorf("the synced batch at %d is another one", offset)
		}
		offset = want.NextOffset()
	}
	if err := checkLookups(log, batches); err != nil {
		return err
	}
	if err := checkProducers(log, h, p.start); err != nil {
		return err
	}
	if epoch, ok := log.LatestEpoch(); ok && epoch > p.epoch {
		return fmt.Errorf("leader epoch %d was never assigned", epoch)
	}
	if id := log.TopicID(); !id.IsZero() && id != p.id {
		return fmt.Errorf("topic id %v instead of %v", id, p.id)
	} else if id.IsZero() && p.synced > 0 {
		return errors.New("synced records without a topic id")
	}
	if err := log.SetTopicID(p.id); err != nil { // as the controller will have it
		return err
	}
	p.lost = false
	p.history = []history{h}
	p.start = start
	p.synced = min(p.synced, end)
	clear(p.next)
	for _, producer := range log.Producers() {
		p.next[producer.ID] = producer.LastSequence() + 1
	}
	return nil
}

// match finds the history that the log is a prefix of.
func (p *part) match(start, end int64, batches []record.Batch) (history, error) {
candidates:
	for i := len(p.history) - 1; i >= 0; i-- {
		if end < p.history[i].from {
			continue
		}
		h := p.history[i].upTo(end)
		if h.end() != end {
			continue
		}
		for _, b := range batches {
			if want, ok := h.at(b.BaseOffset()); !ok || !bytes.Equal(b, want) {
				continue candidates
			}
		}
		return h, nil
	}
	return history{}, fmt.Errorf("[%d, %d) with %d batches is no prefix of anything that was appended", start, end, len(batches))
}

// readAll reads all batches from the start offset on and checks that they are
// whole and follow each other.
func readAll(log *commitlog.Log) ([]record.Batch, error) {
	var all []record.Batch
	offset, end := log.StartOffset(), log.EndOffset()
	for offset < end {
		r, err := log.Read(offset, 1<<20, end, true)
		if err != nil {
			return nil, fmt.Errorf("read at %d: %w", offset, err)
		}
		data, err := r.AppendTo(nil)
		r.Release()
		if err != nil {
			return nil, fmt.Errorf("read at %d: %w", offset, err)
		}
		if len(data) == 0 {
			return nil, fmt.Errorf("nothing at %d, below the end %d", offset, end)
		}
		for len(data) > 0 {
			b, rest, err := record.Next(data)
			if err != nil {
				return nil, fmt.Errorf("batch at %d: %w", offset, err)
			}
			if err := b.CheckCRC(); err != nil {
				return nil, fmt.Errorf("batch at %d: %w", offset, err)
			}
			if b.BaseOffset() > offset || b.LastOffset() < offset || len(all) > 0 && b.BaseOffset() != offset {
				return nil, fmt.Errorf("batch %d…%d where %d is due", b.BaseOffset(), b.LastOffset(), offset)
			}
			all = append(all, b)
			offset, data = b.NextOffset(), rest
		}
	}
	if offset != end {
		return nil, fmt.Errorf("batches up to %d in a log that ends at %d", offset, end)
	}
	return all, nil
}

func join(batches []record.Batch) []byte {
	var all []byte
	for _, b := range batches {
		all = append(all, b...)
	}
	return all
}

// checkLookups looks every batch up by its offset and its timestamp, which goes
// through the indexes.
func checkLookups(log *commitlog.Log, batches []record.Batch) error {
	start, end := log.StartOffset(), log.EndOffset()
	for _, b := range batches {
		for _, offset := range []int64{max(b.BaseOffset(), start), b.LastOffset()} {
			r, err := log.Read(offset, 1, end, true)
			if err != nil {
				return fmt.Errorf("look up %d: %w", offset, err)
			}
			got, err := r.AppendTo(nil)
			r.Release()
			if err != nil || !bytes.Equal(got, b) {
				return fmt.Errorf("look up %d: got another batch, %v", offset, err)
			}
		}
		want := firstAt(batches, b.MaxTimestamp(), start)
		offset, _, _, err := log.OffsetForTimestamp(b.MaxTimestamp(), end)
		if err != nil || offset != want {
			return fmt.Errorf("look up timestamp %d: got %d, want %d, %v", b.MaxTimestamp(), offset, want, err)
		}
	}
	return nil
}

// firstAt is the first offset from start on with that timestamp or a later one.
// All records of a batch have the same timestamp here.
func firstAt(batches []record.Batch, timestamp, start int64) int64 {
	for _, b := range batches {
		if b.MaxTimestamp() >= timestamp {
			return max(b.BaseOffset(), start)
		}
	}
	return -1
}

// producers says which batch is whose.
func (h *history) producers() string {
	var text strings.Builder
	for _, b := range h.batches {
		fmt.Fprintf(&text, " %d…%d:%d", b.BaseOffset(), b.LastOffset(), b.ProducerID())
	}
	return text.String()
}

// checkProducers: every producer state is that of the batches up to the log's
// end, and no producer is missing that has a batch above start, the greatest
// start offset that was asked for: a state that was rebuilt knows only those.
func checkProducers(log *commitlog.Log, h history, start int64) error {
	want := map[int64]int32{}
	required := map[int64]bool{}
	for _, b := range h.batches {
		if b.HasProducerID() {
			want[b.ProducerID()] = b.LastSequence()
			required[b.ProducerID()] = required[b.ProducerID()] || b.LastOffset() >= start
		}
	}
	for _, p := range log.Producers() {
		if last, known := want[p.ID]; !known || last != p.LastSequence() {
			return fmt.Errorf("producer %d has last sequence %d, want %d (known %v)", p.ID, p.LastSequence(), last, known)
		}
		delete(required, p.ID)
	}
	for id, needed := range required {
		if needed {
			return fmt.Errorf("producer %d is forgotten of %s", id, h.producers())
		}
	}
	return nil
}
