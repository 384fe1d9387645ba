package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/zkmeta"
)

// fakeOffsets are the offsets that stand in ZooKeeper, by "group topic-partition".
type fakeOffsets struct {
	at  map[string]int64
	err error // of every offset
}

func (f *fakeOffsets) ConsumerOffsets(_ context.Context, group string, list []zkmeta.ConsumerOffset) {
	for i := range list {
		o := &list[i]
		o.Offset, o.Exists = f.at[group+" "+o.TopicPartition.String()]
		o.Err = f.err
	}
}

func (f *fakeOffsets) SetConsumerOffsets(_ context.Context, group string, list []zkmeta.ConsumerOffset) {
	for i := range list {
		if list[i].Err = f.err; f.err == nil {
			f.at[group+" "+list[i].TopicPartition.String()] = list[i].Offset
		}
	}
}

// Version 0 knows ZooKeeper only, and asks no coordinator.
func TestOffsetsInZooKeeper(t *testing.T) {
	w := newWorld(t)
	w.lead("t", 2, 0)
	commit := committing("g", "t/0=7", "u/0=1", "t/5=1", "t/1=-1")
	commit.Topics[0].Partitions[0].Metadata = kmsg.StringPtr("not kept")
	want := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	want("commit", committedCodes(call[*kmsg.OffsetCommitResponse](w, 0, commit)), "t/0 0", "u/0 3", "t/5 3", "t/1 0")
	if got := fmt.Sprint(w.old.at); got != "map[g t-0:7 g t-1:-1]" {
		t.Errorf("ZooKeeper has %s", got)
	}
	fetch := fetching("g", "t/0", "u/0", "t/5", "t/1")
	want("fetch", fetchedOffsets(call[*kmsg.OffsetFetchResponse](w, 0, fetch)), "t/0 7 0", "u/0 -1 3", "t/5 -1 3", "t/1 -1 0")

	long := committing("g", "t/0=8", "t/1=9")
	long.Topics[0].Partitions[0].Metadata = kmsg.StringPtr(string(make([]byte, 4097)))
	want("long metadata", committedCodes(call[*kmsg.OffsetCommitResponse](w, 0, long)), "t/0 12", "t/1 0")
	if w.old.at["g t-0"] != 7 || w.old.at["g t-1"] != 9 {
		t.Errorf("ZooKeeper has %v", w.old.at)
	}
	w.old.err = errors.New("no such place")
	want("commit that fails", committedCodes(call[*kmsg.OffsetCommitResponse](w, 0, commit)), "t/0 -1", "u/0 3", "t/5 3", "t/1 -1")
	want("fetch that fails", fetchedOffsets(call[*kmsg.OffsetFetchResponse](w, 0, fetch)), "t/0 -1 -1", "u/0 -1 3", "t/5 -1 -1", "t/1 -1 -1")
	if code := call[*kmsg.OffsetFetchResponse](w, 1, fetch).Topics[0].Partitions[0].ErrorCode; code != kerr.NotCoordinator.Code {
		t.Errorf("version 1: %d", code)
	}
}
