package commitlog

import (
	"context"
	"slices"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// A log that never held a record leaves no small files when it is closed, whoever led
// it; one that did leaves them, even if it is empty again.
func TestCloseWithoutRecords(t *testing.T) {
	small := func(fsys vfs.FS, dir string) []string {
		return slices.DeleteFunc(dirNames(t, fsys, dir), func(name string) bool { return name != epochsFile && name != metadataFile })
	}
	fsys := vfs.NewMem()
	o := testOptions(fsys)
	l := mustOpen(t, o)
	for epoch := range int32(3) {
		must(t, l.SetTopicID(protocol.TopicID{1}))
		must(t, l.AssignLeaderEpoch(epoch))
		unsynced, err := l.Finish()
		must(t, err)
		if unsynced {
			t.Error("there is something to be synced")
		}
		l = reopen(t, l, o)
		if names := small(fsys, o.Dir); len(names) > 0 {
			t.Errorf("closed for the %d. time, it has left %v", epoch+1, names)
		}
	}
	must(t, l.SetTopicID(protocol.TopicID{1}))
	must(t, l.AssignLeaderEpoch(3))
	appendTo(t, l, batchOf(t, 1, 1700000000000), 3)
	must(t, l.TruncateTo(0))
	must(t, l.Close(context.Background()))
	if names := small(fsys, o.Dir); len(names) != 2 {
		t.Errorf("a log that is empty again has left %v", names)
	}
}
