package storage

import (
	"os"
	"strings"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol"
)

func TestParseDirName(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef"
	for _, c := range []struct {
		name string
		tp   protocol.TopicPartition
		kind dirKind
	}{
		{"orders-0", tp("orders", 0), liveDir},
		{"customers-by-id-12", tp("customers-by-id", 12), liveDir},
		{"a.b_c-3", tp("a.b_c", 3), liveDir},
		{"orders--3", tp("orders-", 3), liveDir},
		{"orders-3." + id + "-delete", tp("orders", 3), deleteDir},
		{"orders-3." + id + "-future", tp("orders", 3), futureDir},
		{"orders-3." + id + "-stray", tp("orders", 3), strayDir},
		{"a.b-3." + id + "-delete", tp("a.b", 3), deleteDir},
		{"a-delete-3", tp("a-delete", 3), liveDir},
	} {
		if got, kind, err := parseDirName(c.name); got != c.tp || kind != c.kind || err != nil {
			t.Errorf("%s: got %v, %v, %v; want %v, %v", c.name, got, kind, err, c.tp, c.kind)
		}
	}
	for _, name := range []string{
		"", "-", "orders", "lost+found", "orders-", "-3", "orders-x", "orders-3x", "orders-+3", "orders-2147483648",
		"orders-delete", "orders-3-delete", "orders-3.-delete", "orders.id-delete", "ord ers-3.id-delete", ".snapshot",
	} {
		if got, kind, err := parseDirName(name); err == nil {
			t.Errorf("%q was accepted as %v, %v", name, got, kind)
		} else if !strings.Contains(err.Error(), "topic-partition") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: the error does not help: %v", name, err)
		}
	}
}

func TestDeletedDirName(t *testing.T) {
	for _, topic := range []string{"orders", "a.b", strings.Repeat("x", protocol.MaxTopicNameLength)} {
		name := deletedDirName(tp(topic, 99999))
		if len(name) > maxDirName {
			t.Errorf("%d bytes: %s", len(name), name)
		}
		got, kind, err := parseDirName(name)
		if err != nil || kind != deleteDir || got.Partition != 99999 || !strings.HasPrefix(topic, got.Topic) {
			t.Errorf("%s reads as %v, %v, %v", name, got, kind, err)
		}
		if again := deletedDirName(tp(topic, 99999)); again == name {
			t.Errorf("twice the same name: %s", name)
		}
	}
}

// Kafka cuts a long topic in a deleted partition's directory to the same length.
func TestDirNamesOfKafka(t *testing.T) {
	kinds := map[dirKind]int{}
	for _, dir := range []string{"clean/d1", "clean/d2", "killed/d1", "killed/d2"} {
		text, err := os.ReadFile("testdata/kafka-3.9.2/" + dir + "/subdirectories")
		if err != nil {
			t.Fatal(err)
		}
		for name := range strings.Lines(string(text)) {
			name = strings.TrimSpace(name)
			got, kind, err := parseDirName(name)
			if err != nil {
				t.Errorf("%v", err)
			}
			if kind == liveDir && got.String() != name {
				t.Errorf("%s reads as %v", name, got)
			}
			if kind == deleteDir && len(deletedDirName(tp(strings.Repeat("l", 240), got.Partition))) != len(name) {
				t.Errorf("Kafka's name has %d bytes: %s", len(name), name)
			}
			kinds[kind]++
		}
	}
	if kinds[liveDir] != 10 || kinds[deleteDir] != 4 {
		t.Errorf("read %v", kinds)
	}
}

func FuzzParseDirName(f *testing.F) {
	for _, name := range []string{"orders-0", "a-b-12", "orders-3.0123-delete", "x-1.y-future", "x-1.y-stray", "lost+found"} {
		f.Add(name)
	}
	for _, dir := range []string{"d1", "d2"} {
		names, err := os.ReadFile("testdata/kafka-3.9.2/clean/" + dir + "/subdirectories")
		if err != nil {
			f.Fatal(err)
		}
		for name := range strings.FieldsSeq(string(names)) {
			f.Add(name)
		}
	}
	f.Fuzz(func(t *testing.T, name string) {
		got, kind, err := parseDirName(name)
		if err != nil {
			return
		}
		if got.Topic == "" || got.Partition < 0 || kind < liveDir || kind > strayDir {
			t.Fatalf("%q reads as %v, %v", name, got, kind)
		}
	})
}
