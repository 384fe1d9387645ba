package commitlog

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

func compactedOptions(fsys vfs.FS) Options {
	o := testOptions(fsys)
	o.Config.Compact, o.Config.Delete = true, false
	o.Config.SegmentBytes = 1000
	o.CleanedOffset = notCleaned
	return o
}

// newCompacted is a log of some segments, of which all but the active one are stable.
func newCompacted(t testing.TB, o Options) *Log {
	t.Helper()
	l := mustOpen(t, o)
	for i := range 60 {
		appendTo(t, l, batchOf(t, 1+i%2, 1700000000000+int64(10*i)), 0)
	}
	l.AdvanceHighWatermark(l.EndOffset())
	if len(l.Sealed()) < 5 {
		t.Fatalf("only %d sealed segments", len(l.Sealed()))
	}
	return l
}

// halve replaces segments by one that has every other batch, and the last one.
func halve(c *Compaction, old []Sealed, modified time.Time) error {
	r, err := c.Replace(old)
	if err != nil {
		return err
	}
	defer r.Discard()
	n := 0
	for _, s := range old {
		in, err := s.Open(s.BaseOffset, 300, nil)
		if err != nil {
			return err
		}
		defer in.Close()
		for {
			b, last, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			if n++; n%2 == 0 || last+1 == old[len(old)-1].NextOffset {
				if err := r.Append(b); err != nil {
					return err
				}
			}
		}
	}
	return r.Finish(modified)
}

func begin(t testing.TB, l *Log) *Compaction {
	t.Helper()
	c, err := l.BeginCompaction()
	must(t, err)
	return c
}

// offsetsOf are the base offsets of the batches that can be read.
func offsetsOf(t testing.TB, l *Log) []string {
	t.Helper()
	var offsets []string
	for _, line := range readAll(t, l, l.StartOffset(), l.EndOffset()) {
		offset, _, _ := strings.Cut(line, " ")
		offsets = append(offsets, offset)
	}
	return offsets
}

func TestReplaceSegments(t *testing.T) {
	fsys := vfs.NewMem()
	o := compactedOptions(fsys)
	l := newCompacted(t, o)
	sealed := l.Sealed()
	before := readAll(t, l, 0, l.EndOffset())
	held, err := l.Read(sealed[1].BaseOffset, 10_000, l.EndOffset(), true)
	must(t, err)
	heldBefore, err := held.AppendTo(nil)
	must(t, err)
	modified := time.UnixMilli(1_600_000_000_000)

	must(t, halve(begin(t, l), sealed[1:4], modified))

	// Who was reading goes on.
	heldAfter, err := held.AppendTo(nil)
	must(t, err)
	if string(heldAfter) != string(heldBefore) {
		t.Error("a range that was held has changed")
	}
	held.Release()
	now := l.Sealed()
	if len(now) != len(sealed)-2 || now[1].BaseOffset != sealed[1].BaseOffset || now[1].NextOffset != sealed[3].NextOffset {
		t.Fatalf("segments %v instead of %v", now, sealed)
	}
	if m, err := now[1].Modified(); err != nil || !m.Equal(modified) {
		t.Errorf("modified %v, %v", m, err)
	}
	after := readAll(t, l, 0, l.EndOffset())
	if len(after) >= len(before) || slices.ContainsFunc(after, func(line string) bool { return !slices.Contains(before, line) }) {
		t.Errorf("%d records of %d", len(after), len(before))
	}
	for _, name := range dirNames(t, fsys, o.Dir) {
		if strings.Contains(name, cleanedSuffix) || strings.Contains(name, swapSuffix) {
			t.Errorf("%s is left", name)
		}
	}
	// Lookups find what is there.
	for _, line := range after {
		var offset, epoch, ts int64
		fmt.Sscanf(line, "%d e%d @%d", &offset, &epoch, &ts)
		if got, _, _, err := l.OffsetForTimestamp(ts, l.EndOffset()); err != nil || got != offset {
			t.Errorf("time %d is at %d instead of %d, %v", ts, got, offset, err)
		}
		equalLines(t, readAll(t, l, offset, l.EndOffset())[:1], []string{line})
	}
	equalLines(t, readAll(t, reopen(t, l, o), 0, l.EndOffset()), after)
}

// What was set aside goes as other deleted files do, and nothing else.
func TestReplacedFilesWaitForTheirRemoval(t *testing.T) {
	fsys := vfs.NewMem()
	o := compactedOptions(fsys)
	l := newCompacted(t, o)
	want := readAll(t, l, 0, l.EndOffset())
	sealed := l.Sealed()
	for range 2 { // the second time files of the same name are waiting already
		must(t, halve(begin(t, l), l.Sealed()[:2], time.Now()))
	}
	if waiting, err := l.PurgeDeleted(time.Now(), false); err != nil || waiting == 0 {
		t.Errorf("%d files wait, %v", waiting, err)
	}
	if waiting, err := l.PurgeDeleted(time.Now().Add(2*time.Minute), false); err != nil || waiting != 0 {
		t.Errorf("%d files wait for ever, %v", waiting, err)
	}
	for _, name := range dirNames(t, fsys, o.Dir) {
		if strings.HasSuffix(name, deletedSuffix) {
			t.Errorf("%s is left", name)
		}
	}
	got := readAll(t, l, 0, l.EndOffset())
	if len(got) >= len(want) || got[len(got)-1] != want[len(want)-1] {
		t.Errorf("%d records of %d", len(got), len(want))
	}
	if l.Sealed()[0].NextOffset != sealed[2].NextOffset {
		t.Errorf("%v", l.Sealed())
	}
}

// A record that goes because of another one must not go if the other one did.
func TestTruncationEndsACompaction(t *testing.T) {
	fsys := vfs.NewMem()
	o := compactedOptions(fsys)
	l := newCompacted(t, o)
	c := begin(t, l)
	sealed := l.Sealed()
	must(t, l.TruncateTo(sealed[4].BaseOffset))
	want := readAll(t, l, 0, l.EndOffset())
	if err := halve(c, sealed[:2], time.Now()); !errors.Is(err, ErrReplaced) {
		t.Errorf("after a truncation: %v", err)
	}
	if err := c.Done(20); !errors.Is(err, ErrReplaced) {
		t.Errorf("after a truncation: %v", err)
	}
	equalLines(t, readAll(t, l, 0, l.EndOffset()), want)
	for _, name := range dirNames(t, fsys, o.Dir) {
		if strings.HasSuffix(name, cleanedSuffix) {
			t.Errorf("%s is left", name)
		}
	}

	c = begin(t, l)
	must(t, c.Done(sealed[2].BaseOffset))
	if got := l.CleanedOffset(); got != sealed[2].BaseOffset {
		t.Errorf("cleaned up to %d", got)
	}
	told := 0
	l.onTruncate = func() error { told++; return nil }
	must(t, l.TruncateTo(sealed[1].BaseOffset))
	if got := l.CleanedOffset(); got != sealed[1].BaseOffset || told != 1 {
		t.Errorf("after a truncation the log counts as cleaned up to %d and ends at %d", got, l.EndOffset())
	}
	must(t, l.TruncateFullyAndStartAt(5))
	if got := l.CleanedOffset(); got != notCleaned {
		t.Errorf("after a new start the log counts as cleaned up to %d", got)
	}
}

func TestRetentionEndsACompaction(t *testing.T) {
	l := newCompacted(t, compactedOptions(vfs.NewMem()))
	c := begin(t, l)
	sealed := l.Sealed()
	must(t, l.AdvanceStartOffset(sealed[1].BaseOffset))
	if n, err := l.DeleteExpired(time.Now()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := halve(c, sealed[:2], time.Now()); err == nil {
		t.Error("a segment that is gone was replaced")
	}
	must(t, halve(c, sealed[1:3], time.Now()))
	if got := offsetsOf(t, l); got[0] == "0" {
		t.Error("what was dropped is back")
	}
}

// A log's directory can be given away, and another log be made under its name, while a
// compaction is under way.
func TestAbandonEndsACompaction(t *testing.T) {
	fsys := vfs.NewMem()
	o := compactedOptions(fsys)
	l := newCompacted(t, o)
	c := begin(t, l)
	r, err := c.Replace(l.Sealed()[:2])
	must(t, err)
	b := batchOf(t, 1, 5)
	must(t, r.Append(b))
	l.Abandon()
	must(t, fsys.Rename(o.Dir, "/logs/deleted"))
	other := mustOpen(t, o)
	names := dirNames(t, fsys, o.Dir)
	if err := r.Finish(time.Now()); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("finished in a log that is gone: %v", err)
	}
	if _, err := c.Replace(l.Sealed()[:2]); !errors.Is(err, kerr.KafkaStorageError) {
		t.Errorf("began in a log that is gone: %v", err)
	}
	if _, err := l.BeginCompaction(); !errors.Is(err, ErrClosed) {
		t.Errorf("began in a log that is gone: %v", err)
	}
	if got := dirNames(t, fsys, o.Dir); !slices.Equal(got, names) {
		t.Errorf("files %v in the other log, which had %v", got, names)
	}
	appendTo(t, other, batchOf(t, 1, 5), 0)
}

func TestCompactionOnAFullDisk(t *testing.T) {
	mem := vfs.NewMem()
	l := newCompacted(t, compactedOptions(mem))
	want := readAll(t, l, 0, l.EndOffset())
	c := begin(t, l)
	mem.SetCapacity(mem.Used() + 100)
	err := halve(c, l.Sealed()[:3], time.Now())
	if !vfs.NoRoom(err) || l.Err() != nil {
		t.Fatalf("on a full disk: %v, %v", err, l.Err())
	}
	equalLines(t, readAll(t, l, 0, l.EndOffset()), want)
	for _, name := range dirNames(t, mem, "/logs/t-0") {
		if strings.HasSuffix(name, cleanedSuffix) {
			t.Errorf("%s is left", name)
		}
	}
	mem.SetCapacity(1 << 30)
	must(t, halve(c, l.Sealed()[:3], time.Now()))
	if got := readAll(t, l, 0, l.EndOffset()); len(got) >= len(want) {
		t.Errorf("%d records of %d", len(got), len(want))
	}
}

// An index has no more entries than segment.index.bytes allows, however many batches
// the segment has.
func TestReplacementKeepsToTheIndexSize(t *testing.T) {
	o := compactedOptions(vfs.NewMem())
	l := newCompacted(t, o)
	cfg := *l.Config()
	cfg.IndexIntervalBytes, cfg.SegmentIndexBytes = 0, 48
	l.SetConfig(&cfg)
	must(t, halve(begin(t, l), l.Sealed()[:4], time.Now()))
	offsets, times, err := l.Sealed()[0].IndexBytes()
	if err != nil || offsets > 48 || times > 48 || offsets == 0 {
		t.Errorf("indexes of %d and %d bytes, %v", offsets, times, err)
	}
	for _, offset := range offsetsOf(t, l) {
		var at int64
		fmt.Sscan(offset, &at)
		if got := readAll(t, l, at, l.EndOffset()); len(got) == 0 || !strings.HasPrefix(got[0], offset+" ") {
			t.Errorf("at %s: %v", offset, got)
		}
	}
}
