package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// A range stays readable while retention, truncation and Close go on.
func TestRangesOutliveTheirSegment(t *testing.T) {
	mem := vfs.NewMem()
	o := testOptions(mem)
	o.Config.SegmentBytes = 200
	o.Config.RetentionBytes = 0
	l := mustOpen(t, o)
	var want [][]byte
	for range 6 {
		b := batchOf(t, 1, 1)
		appendTo(t, l, b, 0)
		want = append(want, bytes.Clone(b))
	}
	var held []Range
	for i := range int64(6) {
		r, err := l.Read(i, 1, 6, true)
		must(t, err)
		held = append(held, r)
	}
	must(t, l.TruncateTo(4))
	l.AdvanceHighWatermark(4)
	n, err := l.DeleteExpired(time.Now())
	if err != nil || n == 0 {
		t.Fatalf("retention dropped %d segments, %v", n, err)
	}
	_, err = l.PurgeDeleted(time.Now().Add(time.Hour), false)
	must(t, err)
	must(t, l.Close(t.Context()))
	must(t, mem.RemoveAll(o.Dir))
	for i := range held[:4] {
		got, err := held[i].AppendTo(nil)
		if err != nil || !bytes.Equal(got, want[i]) {
			t.Errorf("range %d holds %x, %v", i, got, err)
		}
	}
	for i := range held {
		held[i].Release()
	}
	if mem.OpenFiles() != 0 {
		t.Errorf("%d files stay open", mem.OpenFiles())
	}
}

func TestTopicIDAndRename(t *testing.T) {
	mem := vfs.NewMem()
	o := testOptions(mem)
	o.Files = NewFileCache(1)
	l := mustOpen(t, o)
	id := protocol.NewTopicID()
	must(t, l.SetTopicID(id))
	must(t, l.SetTopicID(id))
	if err := l.SetTopicID(protocol.NewTopicID()); !errors.Is(err, kerr.InconsistentTopicID) {
		t.Errorf("another topic id gives %v", err)
	}
	appendTo(t, l, batchOf(t, 1, 1), 0)
	must(t, l.Rename("/logs/t-0.0123-delete"))
	appendTo(t, l, batchOf(t, 1, 2), 0)
	equalLines(t, readAll(t, l, 0, 2), []string{"0 e0 @1 value 0 of time 1", "1 e0 @2 value 0 of time 2"})
	o.Dir = "/logs/t-0.0123-delete"
	if l.Dir() != o.Dir {
		t.Errorf("Dir is %s", l.Dir())
	}
	l = reopen(t, l, o)
	if l.TopicID() != id || l.EndOffset() != 2 {
		t.Errorf("reopened it has id %s and end %d", l.TopicID(), l.EndOffset())
	}
}

func TestRetentionByTime(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.Config.SegmentBytes = 120
	o.Config.RetentionMS = 1000
	l := mustOpen(t, o)
	now := time.Now()
	for _, age := range []int64{5000, 500, 3000, 2000, 100} {
		appendTo(t, l, batchOf(t, 1, now.UnixMilli()-age), 0)
	}
	for _, c := range []struct {
		hw, start int64
		now       time.Time
	}{
		{0, 0, now}, // nothing above the high watermark
		{5, 1, now}, // the second is young, what follows must wait for it
		{5, 4, now.Add(600 * time.Millisecond)},
		{5, 5, now.Add(time.Hour)}, // the active one goes, too
	} {
		l.AdvanceHighWatermark(c.hw)
		_, err := l.DeleteExpired(c.now)
		must(t, err)
		if l.StartOffset() != c.start || l.BaseOffset() != c.start {
			t.Errorf("at %v with high watermark %d the log starts at %d, want %d", c.now.Sub(now), c.hw, l.StartOffset(), c.start)
		}
	}
	if l.EndOffset() != 5 || len(l.list()) != 1 {
		t.Errorf("the end is %d, %d segments", l.EndOffset(), len(l.list()))
	}
	if info := appendTo(t, l, batchOf(t, 1, now.UnixMilli()), 0); info.FirstOffset != 5 {
		t.Errorf("the next record gets offset %d", info.FirstOffset)
	}
	cfg := *o.Config
	cfg.Delete = false
	l.SetConfig(&cfg)
	l.AdvanceHighWatermark(6)
	if n, err := l.DeleteExpired(now.Add(time.Hour)); n != 0 || err != nil {
		t.Errorf("without the policy to delete, %d segments go, %v", n, err)
	}
}

func TestEpochQueries(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewMem()))
	for i, epoch := range []int32{2, 2, 5, 5, 9} {
		appendTo(t, l, batchOf(t, 1, int64(i)), epoch)
	}
	for _, c := range []struct {
		epoch, wantEpoch int32
		want             int64
	}{{9, 9, 5}, {10, -1, -1}, {1, 1, 0}, {2, 2, 2}, {4, 2, 2}, {5, 5, 4}, {8, 5, 4}, {-1, -1, -1}} {
		if e, o := l.EndOffsetForEpoch(c.epoch); e != c.wantEpoch || o != c.want {
			t.Errorf("epoch %d ends as %d at %d, want %d at %d", c.epoch, e, o, c.wantEpoch, c.want)
		}
	}
	must(t, l.AssignLeaderEpoch(12))
	must(t, l.AssignLeaderEpoch(11)) // older than what is known
	must(t, l.AssignLeaderEpoch(13)) // replaces 12, which has written nothing
	if e, o := l.EndOffsetForEpoch(12); e != 9 || o != 5 {
		t.Errorf("epoch 12 ends as %d at %d", e, o)
	}
	l.AdvanceHighWatermark(5)
	must(t, l.AdvanceStartOffset(3))
	if got, want := fmt.Sprint(l.epochs.entries), "[{5 3} {9 4} {13 5}]"; got != want {
		t.Errorf("epochs are %v, want %v", got, want)
	}
	// An epoch that has written nothing is forgotten, as by Kafka.
	l = reopen(t, l, testOptions(l.dir.fs))
	if got, want := fmt.Sprint(l.epochs.entries), "[{5 3} {9 4}]"; got != want {
		t.Errorf("reopened, epochs are %v, want %v", got, want)
	}
}

// Only a log that was closed may be said to be clean.
func TestCloseAfterAbandon(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewMem()))
	must(t, l.Close(t.Context()))
	must(t, l.Close(t.Context()))
	l.Abandon()
	must(t, l.Close(t.Context()))

	l = mustOpen(t, testOptions(vfs.NewMem()))
	appendTo(t, l, batchOf(t, 1, 1), 0)
	l.Abandon()
	if err := l.Close(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Close after Abandon gives %v", err)
	}
	for name, err := range map[string]error{
		"append":   func() error { _, err := l.AppendAsFollower(batchOf(t, 1, 1), 0); return err }(),
		"sync":     l.Sync(1),
		"truncate": l.TruncateTo(0),
		"retain":   func() error { _, err := l.DeleteExpired(time.Now()); return err }(),
		"start":    l.AdvanceStartOffset(0),
		"epoch":    l.AssignLeaderEpoch(9),
		"read":     func() error { _, err := l.Read(0, 1, 1, true); return err }(),
	} {
		if !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("%s after Abandon gives %v", name, err)
		}
	}
}
