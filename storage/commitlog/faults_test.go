package commitlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/internal/race"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// Every single operation on the disk fails once, in each of several ways, in the
// course of a script that does everything a log can do. Whatever fails: what was
// acknowledged is there after a kill, what was synced after a power loss, and
// nothing else than what was appended, in order.
func TestEveryOperationFails(t *testing.T) {
	ways := map[string]func(n int64) func(vfs.Call) error{
		"once": func(n int64) func(vfs.Call) error { return vfs.FailNth(n, vfs.ErrInjected) },
		"from then on": func(n int64) func(vfs.Call) error {
			return func(c vfs.Call) error {
				if c.N >= n {
					return vfs.ErrInjected
				}
				return nil
			}
		},
		"short write": func(n int64) func(vfs.Call) error {
			return func(c vfs.Call) error {
				if c.N == n && c.Op == vfs.OpWrite {
					return &vfs.ShortWrite{N: c.Len / 2, Err: vfs.ErrInjected}
				}
				return nil
			}
		},
		"full": func(n int64) func(vfs.Call) error {
			return func(c vfs.Call) error {
				switch {
				case c.N < n:
				case c.Op == vfs.OpWrite:
					return &vfs.ShortWrite{N: c.Len / 2, Err: vfs.ErrNoSpace}
				case c.Op == vfs.OpRename || c.Op == vfs.OpMkdir:
					return vfs.ErrNoSpace
				}
				return nil
			}
		},
	}
	whole := newFaultScript(t, "without a fault")
	whole.verify(whole.run())
	total := whole.faults.Calls()
	if total < 200 || len(whole.batches) < 10 {
		t.Fatalf("the script has only %d operations and leaves %d batches", total, len(whole.batches))
	}
	every := int64(race.Every(t))
	if testing.Short() {
		every = 5
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := int64(1); n <= total; n += every {
				s := newFaultScript(t, fmt.Sprintf("%s at operation %d", name, n))
				s.faults.Inject(way(n))
				err := s.run()
				s.faults.Inject(nil)
				s.verify(err)
			}
		})
	}
}

type faultScript struct {
	t      *testing.T
	name   string
	mem    *vfs.Mem
	faults *vfs.Faults
	o      Options
	log    *Log

	batches []record.Batch // acknowledged, and not truncated since
	maybe   record.Batch   // the one whose append failed
	removed int            // batches at the end that a truncation that failed may have removed
	synced  int64
	point   int64
	start   int64
}

func newFaultScript(t *testing.T, name string) *faultScript {
	s := &faultScript{t: t, name: name, mem: vfs.NewMem()}
	must(t, s.mem.MkdirAll("/logs/t-0", 0o755))
	must(t, s.mem.SyncDir("/"))
	must(t, s.mem.SyncDir("/logs"))
	s.faults = vfs.NewFaults(s.mem)
	s.o = testOptions(s.faults)
	s.o.Config.SegmentBytes = 700
	s.o.Config.IndexIntervalBytes = 0
	s.o.OnTruncate = func() error { s.point = min(s.point, s.log.RecoveryPoint()); return nil }
	return s
}

func (s *faultScript) append(n int, epoch int32, pid int64) error {
	b := record.NewBuilder()
	for i := range n {
		b.Append(time.Now().UnixMilli(), []byte("k"), fmt.Appendf(nil, "value %d of %d", i, n))
	}
	seq := int32(0)
	for _, p := range s.log.Producers() {
		if p.ID == pid {
			seq = p.LastSequence() + 1
		}
	}
	batch, err := b.SetProducer(pid, 0, seq).SetTransactional(true).Build()
	if err == nil {
		err = s.add(batch, epoch, record.Client)
	}
	return err
}

func (s *faultScript) add(batch record.Batch, epoch int32, o record.Origin) error {
	end := s.log.EndOffset()
	_, err := s.log.AppendAsLeader(batch, epoch, o)
	if err != nil {
		if s.log.EndOffset() != end {
			s.t.Errorf("%s: a failed append has moved the end from %d to %d", s.name, end, s.log.EndOffset())
		}
		s.maybe = bytes.Clone(batch)
		return err
	}
	s.batches = append(s.batches, bytes.Clone(batch))
	return nil
}

// run does the script up to the first error.
func (s *faultScript) run() error {
	var err error
	if s.log, err = Open(s.o); err != nil {
		return err
	}
	s.t.Cleanup(s.log.Abandon)
	sync := func() error {
		end := s.log.EndOffset()
		err := s.log.Sync(end)
		if err == nil {
			s.synced, s.point = end, s.log.RecoveryPoint()
		}
		return err
	}
	appendMany := func(n int, epoch int32) error {
		for i := range n {
			if err := s.append(1+i%3, epoch, int64(i%2)); err != nil {
				return err
			}
		}
		return nil
	}
	truncate := func(n int) error {
		s.removed = n
		to := s.batches[len(s.batches)-n].BaseOffset()
		if err := s.log.TruncateTo(to); err != nil {
			s.synced = min(s.synced, to)
			return err
		}
		s.batches, s.removed = s.batches[:len(s.batches)-n], 0
		s.synced = min(s.synced, s.log.SyncedOffset())
		return nil
	}
	steps := []func() error{
		func() error { return s.log.AssignLeaderEpoch(0) },
		func() error { return appendMany(12, 0) },
		sync,
		func() error { return appendMany(6, 1) },
		func() error { return truncate(4) },
		func() error {
			return s.add(record.EndTxnMarker(0, 0, 1, false, time.Now().UnixMilli()), 2, record.Coordinator)
		},
		func() error { return truncate(9) },
		func() error { return appendMany(9, 3) },
		sync,
		func() error {
			s.log.AdvanceHighWatermark(s.log.EndOffset())
			s.start = s.log.EndOffset() / 2
			if err := s.log.AdvanceStartOffset(s.start); err != nil {
				return err
			}
			_, err := s.log.DeleteExpired(time.Now())
			return err
		},
		func() error { _, err := s.log.PurgeDeleted(time.Now().Add(time.Hour), false); return err },
		func() error { return appendMany(4, 4) },
		func() error { _, _, _, err := s.log.OffsetForTimestamp(1, s.log.EndOffset()); return err },
		func() error {
			r, err := s.log.Read(s.start, 100, s.log.EndOffset(), true)
			if err == nil {
				_, err = r.AppendTo(nil)
				r.Release()
			}
			return err
		},
		func() error { return s.log.Close(context.Background()) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	s.synced, s.point = s.log.EndOffset(), s.log.EndOffset()
	return nil
}

func (s *faultScript) verify(err error) {
	t := s.t
	t.Helper()
	if err == nil {
		s.compare("closed", s.mem.Kill(), int64(len(s.batches)), true)
		return
	}
	if !errors.Is(err, vfs.ErrInjected) && !errors.Is(err, vfs.ErrNoSpace) {
		t.Errorf("%s: the script failed otherwise: %v", s.name, err)
	}
	if s.log != nil && s.log.Err() != nil && errors.Is(err, vfs.ErrNoSpace) {
		t.Errorf("%s: a full disk has stopped the log: %v", s.name, s.log.Err())
	}
	if s.log != nil && s.log.Err() == nil && s.maybe != nil {
		// The append was taken back: it can be tried again.
		b := bytes.Clone(s.maybe)
		if err := s.add(b, s.maybe.LeaderEpoch(), record.Replication); err != nil {
			t.Errorf("%s: the log works, and yet: %v", s.name, err)
		}
		s.maybe = nil
	}
	if s.log != nil && s.log.Err() != nil {
		if _, err := s.log.AppendAsLeader(batchOf(t, 1, 1), 9, record.Client); !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("%s: an append to a failed log gives %v", s.name, err)
		}
		if err := s.log.Sync(1 << 60); !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("%s: a sync of a failed log gives %v", s.name, err)
		}
	}
	if s.log != nil {
		s.log.Abandon()
	}
	if n := s.mem.OpenFiles(); n != 0 {
		t.Errorf("%s: %d files stay open", s.name, n)
	}
	s.compare("killed", s.mem.Kill(), int64(len(s.batches)-s.removed), false)
	synced := int64(0)
	for _, b := range s.batches {
		if b.LastOffset() < s.synced {
			synced++
		}
	}
	for seed := range uint64(3) {
		s.compare(fmt.Sprint("crash ", seed), s.mem.Crash(rand.New(rand.NewPCG(seed, 5))), synced, false)
	}
}

// compare opens what is left and expects at least the first n batches, as far as
// they are not below the start offset, and no others than those that were
// appended.
func (s *faultScript) compare(how string, mem *vfs.Mem, n int64, clean bool) {
	s.t.Helper()
	o := s.o
	o.FS, o.Clean, o.RecoveryPoint = mem, clean, s.point
	l, err := Open(o)
	if err != nil {
		s.t.Errorf("%s, %s: open: %v", s.name, how, err)
		return
	}
	defer l.Abandon()
	all := s.batches
	if s.maybe != nil {
		all = append(all[:len(all):len(all)], s.maybe)
	}
	i := 0
	for i < len(all) && all[i].LastOffset() < l.StartOffset() {
		i++
	}
	if int64(i) > n && l.StartOffset() > s.start {
		s.t.Errorf("%s, %s: the log starts at %d", s.name, how, l.StartOffset())
	}
	for from := l.StartOffset(); from < l.EndOffset(); i++ {
		r, err := l.Read(from, 0, l.EndOffset(), true)
		must(s.t, err)
		raw, err := r.AppendTo(nil)
		r.Release()
		must(s.t, err)
		if i >= len(all) || !bytes.Equal(raw, all[i]) {
			s.t.Errorf("%s, %s: the batch at %d is not the one that was appended", s.name, how, from)
			return
		}
		from = all[i].NextOffset()
	}
	if int64(i) < n {
		s.t.Errorf("%s, %s: %d batches are left of %d", s.name, how, i, n)
	}
}

// After a failed fsync nothing is acknowledged any more, even if the next fsync
// would succeed.
func TestFailedSyncIsFinal(t *testing.T) {
	s := newFaultScript(t, "")
	l, err := Open(s.o)
	must(t, err)
	defer l.Abandon()
	appendTo(t, l, batchOf(t, 1, 1), 0)
	s.faults.Inject(vfs.FailOp(vfs.OpSync, logSuffix, vfs.ErrInjected))
	if err := l.Sync(1); !errors.Is(err, kerr.KafkaStorageError) || !errors.Is(err, vfs.ErrInjected) {
		t.Errorf("Sync gives %v", err)
	}
	s.faults.Inject(nil)
	if err := l.Sync(1); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("the next Sync gives %v", err)
	}
	if _, err := l.AppendAsLeader(batchOf(t, 1, 1), 0, record.Client); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("an append gives %v", err)
	}
	if err := l.Close(context.Background()); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("Close gives %v", err)
	}
	if err := l.Close(context.Background()); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("the second Close gives %v", err)
	}
	if l.SyncedOffset() != 0 || l.Err() == nil {
		t.Errorf("synced offset %d, error %v", l.SyncedOffset(), l.Err())
	}
	// What is there can still be read.
	equalLines(t, readAll(t, l, 0, 1), []string{"0 e0 @1 value 0 of time 1"})
}

// A full disk refuses appends, and takes them again once there is space.
func TestFullDisk(t *testing.T) {
	s := newFaultScript(t, "")
	l, err := Open(s.o)
	must(t, err)
	defer l.Abandon()
	appendTo(t, l, batchOf(t, 1, 1), 0)
	s.faults.Inject(vfs.FullAfter(30))
	_, err = l.AppendAsLeader(batchOf(t, 2, 2), 0, record.Client)
	if !errors.Is(err, vfs.ErrNoSpace) || !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("an append to a full disk gives %v", err)
	}
	if info, err := s.mem.Stat(l.active().file.path()); err != nil || info.Size() != l.Size() {
		t.Errorf("a failed append leaves %d bytes where %d were, %v", info.Size(), l.Size(), err)
	}
	s.faults.Inject(nil)
	appendTo(t, l, batchOf(t, 1, 3), 0)
	want := []string{"0 e0 @1 value 0 of time 1", "1 e0 @3 value 0 of time 3"}
	equalLines(t, readAll(t, l, 0, 2), want)
	o := s.o
	o.FS = s.mem.Kill()
	equalLines(t, readAll(t, mustOpen(t, o), 0, 2), want)
}
