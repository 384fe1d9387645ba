package zkmeta

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// The nodes are those of Kafka 3.9.2, which versions 0 of OffsetCommit and OffsetFetch
// write and read.
func TestConsumerOffsets(t *testing.T) {
	f := newFixture(t)
	f.ok(f.admin.EnsurePaths(f.ctx))
	f.put("/consumers/g/offsets/t/1", []byte("17"))
	f.put("/consumers/g/offsets/t/2", []byte("nonsense"))
	f.put("/consumers/g/offsets/t/3", nil)
	f.put("/consumers/g/offsets/t/4", []byte{})
	set := func(group string, offset int64) error {
		list := []ConsumerOffset{{TopicPartition: tp("t", 0), Offset: offset}}
		f.c.SetConsumerOffsets(f.ctx, group, list)
		return list[0].Err
	}
	f.ok(set("g", 1))
	f.ok(set("g", -9223372036854775808))
	f.ok(set("a/b", 3))
	f.holds("/consumers/g/offsets/t/0", "-9223372036854775808", 1)
	f.holds("/consumers/a/b/offsets/t/0", "3", 0)
	for _, group := range []string{"", ".", "..", "../brokers", "/", "a//b", "\x00", "\n", "\x01"} {
		if err := set(group, 1); err == nil || !strings.Contains(err.Error(), group) {
			t.Errorf("%q: %v", group, err)
		}
	}
	list := make([]ConsumerOffset, 6)
	for i := range list {
		list[i].TopicPartition = tp("t", int32(i))
	}
	f.c.ConsumerOffsets(f.ctx, "g", list)
	for i, want := range []string{"-9223372036854775808", "17", "malformed", "none", "malformed", "none"} {
		o := &list[i]
		var bad *MalformedError
		got := "none"
		switch {
		case errors.As(o.Err, &bad) && !o.Exists:
			got = "malformed"
		case o.Exists:
			got = fmt.Sprint(o.Offset)
		}
		if got != want {
			t.Errorf("%v: %s, %v; want %s", o.TopicPartition, got, o.Err, want)
		}
	}
	f.c.ConsumerOffsets(f.ctx, "..", list[:1])
	if list[0].Err == nil || list[0].Exists {
		t.Errorf("%+v", list[0])
	}
}
