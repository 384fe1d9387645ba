package storage

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol"
)

func tp(topic string, partition int32) protocol.TopicPartition {
	return protocol.TopicPartition{Topic: topic, Partition: partition}
}

func TestParseCheckpoint(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       map[protocol.TopicPartition]int64
	}{
		{"empty file, as Kafka creates it", "", nil},
		{"version alone", "0\n", nil},
		{"no entries", "0\n0\n", nil},
		{"one", "0\n1\norders 3 42\n", map[protocol.TopicPartition]int64{tp("orders", 3): 42}},
		{"no final line end", "0\n1\norders 3 42", map[protocol.TopicPartition]int64{tp("orders", 3): 42}},
		{"lines of a Windows editor", "0\r\n1\r\norders 3 42\r\n", map[protocol.TopicPartition]int64{tp("orders", 3): 42}},
		{"tabs and many blanks", "0\n1\norders\t 3   42\n", map[protocol.TopicPartition]int64{tp("orders", 3): 42}},
		{"greatest numbers", "0\n1\nt 2147483647 9223372036854775807\n", map[protocol.TopicPartition]int64{tp("t", 1<<31-1): 1<<63 - 1}},
		{"the last line counts", "0\n2\nt 0 1\nt 0 2\n", map[protocol.TopicPartition]int64{tp("t", 0): 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseCheckpoint([]byte(c.text))
			if err != nil || !maps.Equal(got, c.want) {
				t.Errorf("got %v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestParseCheckpointRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"other version":         "1\n0\n",
		"no version":            "\n0\n",
		"version is no number":  "x\n0\n",
		"count is no number":    "0\nmany\n",
		"negative count":        "0\n-1\n",
		"fewer than the count":  "0\n2\nt 0 1\n",
		"more than the count":   "0\n1\nt 0 1\nt 1 1\n",
		"an empty line behind":  "0\n1\nt 0 1\n\n",
		"count beyond all data": "0\n2147483647\nt 0 1\n",
		"two fields":            "0\n1\nt 0\n",
		"four fields":           "0\n1\nt 0 1 2\n",
		"an empty line":         "0\n1\n\n",
		"partition no number":   "0\n1\nt x 1\n",
		"partition too large":   "0\n1\nt 2147483648 1\n",
		"partition negative":    "0\n1\nt -1 1\n",
		"offset no number":      "0\n1\nt 0 x\n",
		"offset too large":      "0\n1\nt 0 9223372036854775808\n",
		"offset negative":       "0\n1\nt 0 -1\n",
		"zeros after a crash":   "\x00\x00\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := parseCheckpoint([]byte(text)); !errors.Is(err, errCheckpoint) {
				t.Errorf("got %v, %v; want errCheckpoint", got, err)
			}
		})
	}
}

func TestCheckpointErrorsQuoteLittle(t *testing.T) {
	_, err := parseCheckpoint([]byte("0\n1\n" + strings.Repeat("x", 1<<16) + "\n"))
	if err == nil || len(err.Error()) > 300 {
		t.Errorf("error of %d characters", len(err.Error()))
	}
}

// Every checkpoint that Kafka has written is read, and written again with the
// same lines.
func TestCheckpointsOfKafka(t *testing.T) {
	files, err := filepath.Glob("testdata/kafka-3.9.2/*/*/*-checkpoint")
	if err != nil || len(files) != 16 {
		t.Fatalf("found %d fixtures, %v", len(files), err)
	}
	for _, file := range files {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		offsets, err := parseCheckpoint(want)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		var entries []offsetLine
		for tp, offset := range offsets {
			entries = append(entries, offsetLine{tp, offset})
		}
		got := formatCheckpoint(entries)
		if sorted(got) != sorted(want) {
			t.Errorf("%s: wrote\n%swhere Kafka wrote\n%s", file, got, want)
		}
	}
}

func sorted(text []byte) string {
	lines := strings.Split(string(text), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func FuzzParseCheckpoint(f *testing.F) {
	addKafkas(f, recoveryPointFile)
	addKafkas(f, highWatermarkFile)
	f.Add([]byte("0\n2\norders 0 17\ncustomers-by-id 11 9223372036854775807\n"))
	f.Add([]byte("0\n0\n"))
	f.Add([]byte(""))
	f.Add([]byte("0\r\n1\r\na 1 2\r\n"))
	f.Add([]byte("0\n1000000000\na 1 2\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		offsets, err := parseCheckpoint(data)
		if err != nil {
			if !errors.Is(err, errCheckpoint) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		var entries []offsetLine
		for tp, offset := range offsets {
			if tp.Topic == "" || tp.Partition < 0 || offset < 0 {
				t.Fatalf("accepted %v %d", tp, offset)
			}
			entries = append(entries, offsetLine{tp, offset})
		}
		again, err := parseCheckpoint(formatCheckpoint(entries))
		if err != nil || !maps.Equal(again, offsets) {
			t.Fatalf("%v became %v, %v", offsets, again, err)
		}
		if bytes.Count(data, []byte("\n"))+1 < len(offsets) {
			t.Fatalf("%d entries from %d bytes", len(offsets), len(data))
		}
	})
}

func formatCheckpoint(entries []offsetLine) []byte {
	file := appendCheckpointHead(nil, len(entries))
	for _, e := range entries {
		file = appendOffsetLine(file, e)
	}
	return file
}
