package protocol

import (
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestTopicPartitionDir(t *testing.T) {
	for _, tp := range []TopicPartition{{"a", 0}, {"a-b", 7}, {"a-1", 2}, {"-", 1}, {"a.b_c", math.MaxInt32}} {
		got, ok := ParseTopicPartitionDir(tp.String())
		if got != tp || !ok {
			t.Errorf("%v reads as %v, %v", tp, got, ok)
		}
	}
	for _, name := range []string{"", "a", "-", "-1", "a-", "a-b", "a-+1", "a--", "a- 1", "a-2147483648", "a-1x", "a-0x1"} {
		if tp, ok := ParseTopicPartitionDir(name); ok {
			t.Errorf("%q reads as %+v", name, tp)
		}
	}
	if tp, ok := ParseTopicPartitionDir("a--1"); !ok || tp != (TopicPartition{"a-", 1}) {
		t.Errorf("a--1 reads as %+v, %v", tp, ok)
	}
}

func TestTopicPartitionCompare(t *testing.T) {
	sorted := []TopicPartition{{"a", 2}, {"a", 10}, {"b", 0}, {"b", 1}}
	for i, x := range sorted {
		for j, y := range sorted {
			if got := x.Compare(y); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%v against %v: %d", x, y, got)
			}
		}
	}
}

func TestValidateTopicName(t *testing.T) {
	for _, name := range []string{"a", "...", "_", "-", "Az09._-", strings.Repeat("x", 249), "__consumer_offsets"} {
		if err := ValidateTopicName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", strings.Repeat("x", 250), "a b", "a/b", "ä", "a\x00", "a:b", "a@b", "a[", "a`", "a{"} {
		if err := ValidateTopicName(name); !errors.Is(err, kerr.InvalidTopicException) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestTopicsCollide(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"a.b", "a_b", true}, {"a_b.c", "a.b_c", true}, {"a", "a", true}, {"a.b", "a-b", false}, {"a.b", "a.bc", false}, {"", ".", false},
	} {
		if got := TopicsCollide(c.a, c.b); got != c.want || TopicsCollide(c.b, c.a) != c.want {
			t.Errorf("%q and %q collide: %v", c.a, c.b, got)
		}
	}
}

func TestIsInternalTopic(t *testing.T) {
	for name, want := range map[string]bool{"__consumer_offsets": true, "__transaction_state": true, "__mine": false, "": false} {
		if IsInternalTopic(name) != want {
			t.Errorf("%q is internal: %v", name, !want)
		}
	}
}

func TestTopicID(t *testing.T) {
	seen := map[TopicID]bool{}
	for range 2000 {
		id := NewTopicID()
		s := id.String()
		back, err := ParseTopicID(s)
		if err != nil || back != id || len(s) != 22 {
			t.Fatalf("%q reads as %v, %v", s, back, err)
		}
		if id.IsZero() || seen[id] || s[0] == '-' || id[6]>>4 != 4 || id[8]>>6 != 2 {
			t.Fatalf("%x (%s) is no acceptable id", id[:], s)
		}
		seen[id] = true
	}
	if got := (TopicID{}).String(); got != "AAAAAAAAAAAAAAAAAAAAAA" {
		t.Errorf("the zero id is %q", got)
	}
	for _, s := range []string{"", "AAAA", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAA+/", "\nAAAAAAAAAAAAAAAAAAAAA"} {
		if id, err := ParseTopicID(s); err == nil {
			t.Errorf("%q reads as %v", s, id)
		}
	}
}

func FuzzParseTopicPartitionDir(f *testing.F) {
	f.Add("topic-0")
	f.Add("a-b-12")
	f.Add("a-007")
	names, err := os.ReadFile("../storage/testdata/kafka-3.9.2/clean/d1/subdirectories")
	if err != nil {
		f.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(names)) {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		tp, ok := ParseTopicPartitionDir(name)
		if !ok {
			return
		}
		if again, ok := ParseTopicPartitionDir(tp.String()); !ok || again != tp || tp.Partition < 0 {
			t.Fatalf("%q reads as %+v, that as %+v", name, tp, again)
		}
	})
}
