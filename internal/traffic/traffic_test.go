package traffic

import "testing"

// TestRecorded checks that there are requests and replies of what matters most.
func TestRecorded(t *testing.T) {
	for name, key := range map[string]int16{"Produce": 0, "Fetch": 1, "LeaderAndIsr": 4, "UpdateMetadata": 6, "ApiVersions": 18} {
		if len(Requests(t, key)) == 0 || len(Replies(t, key)) == 0 {
			t.Errorf("no %s", name)
		}
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
