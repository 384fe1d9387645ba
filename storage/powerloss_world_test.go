package storage

import (
	"cmp"
	"context"
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

	// scarce: there is no room on the disk now and then, see full_test.go.
	scarce  bool
	refused int // operations for which there was none
	reserve int64

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
	for {
		faults := vfs.NewFaults(w.mem)
		faults.Inject(w.inject)
		store, err := w.openOn(faults)
		w.store = store
		if !w.noRoom(err) {
			return err
		}
		w.mem = w.mem.Kill() // the attempt leaves files open
		w.mem.SetCapacity(w.mem.Used() + 1<<w.rng.IntN(20))
		w.note("more room")
	}
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
		Storage:            config.Storage{Dirs: w.dirs, ReserveBytes: w.reserve},
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
