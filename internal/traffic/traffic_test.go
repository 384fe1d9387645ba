package traffic

import (
	"io/fs"
	"testing"
)

// maxRecorded bounds, in bytes, what all recordings take of the repository: every new
// one adds as much to its history.
const maxRecorded = 300 << 10

// TestRecorded checks that there are requests and replies of what matters most.
func TestRecorded(t *testing.T) {
	for name, key := range map[string]int16{
		"Produce": 0, "Fetch": 1, "LeaderAndIsr": 4, "UpdateMetadata": 6, "ApiVersions": 18,
		"OffsetCommit": 8, "OffsetFetch": 9, "JoinGroup": 11, "Heartbeat": 12, "LeaveGroup": 13, "SyncGroup": 14, "DescribeGroups": 15, "ListGroups": 16, "DeleteGroups": 42, "OffsetDelete": 47,
	} {
		if len(Requests(t, key)) == 0 || len(Replies(t, key)) == 0 {
			t.Errorf("no %s", name)
		}
	}
	size := int64(0)
	err := fs.WalkDir(files, ".", func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil || size > maxRecorded {
		t.Errorf("the recordings have %d bytes, more than %d: %v", size, maxRecorded, err)
	}
	requests, replies, events := 0, 0, 0
	for _, f := range ZooKeeper(t) {
		switch {
		case f.Event:
			events++
		case f.Reply:
			replies++
		default:
			requests++
		}
	}
	if requests == 0 || replies == 0 || events == 0 {
		t.Errorf("ZooKeeper: %d requests, %d replies, %d events", requests, replies, events)
	}
}
