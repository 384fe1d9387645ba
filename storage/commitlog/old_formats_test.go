package commitlog

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// What Kafka 0.10.2.2 wrote; see ../testdata/README.md.
const (
	oldDir = "../testdata/kafka-0.10.2.2"
	oldEnd = 144
)

var oldTopics = []string{"format0", "format1", "format1-stamped"}

func oldFiles(t testing.TB, topic string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(filepath.Join(oldDir, topic+"-0"))
	must(t, err)
	for _, e := range entries {
		files[e.Name()], err = os.ReadFile(filepath.Join(oldDir, topic+"-0", e.Name()))
		must(t, err)
	}
	return files
}

// segmentsOf is the content of the segments, one behind the other.
func segmentsOf(files map[string][]byte) (all []byte) {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, logSuffix) {
			all = append(all, files[name]...)
		}
	}
	return all
}

func oldOptions(fsys vfs.FS, topic string) Options {
	o := testOptions(fsys)
	o.Dir = "/logs/" + topic + "-0"
	o.Partition = protocol.TopicPartition{Topic: topic, Partition: 0}
	o.Clean = true
	o.RecoveryPoint, o.HighWatermark = oldEnd, oldEnd
	o.Config.SegmentMS = math.MaxInt64
	return o
}

func openOld(t *testing.T, topic string, change func(o *Options, files map[string][]byte)) (*Log, *vfs.Mem, Options, map[string][]byte) {
	t.Helper()
	mem, files := vfs.NewMem(), oldFiles(t, topic)
	o := oldOptions(mem, topic)
	if change != nil {
		change(&o, files)
	}
	writeFiles(t, mem, o.Dir, files)
	return mustOpen(t, o), mem, o, files
}

// sent is what was produced as record i.
func sent(i int64) (key, value []byte, timestamp int64) {
	timestamp = 1700000000000 + 1000*i
	if i%10 == 9 {
		timestamp -= 5500
	}
	if i%7 != 6 {
		key = fmt.Appendf(nil, "key %03d", i)
	}
	if i%11 != 10 {
		codec := []string{"none", "gzip", "snappy", "lz4"}[i/36]
		value = fmt.Appendf(nil, "value %03d, %s, gracchus gracchus gracchus", i, codec)
	}
	return key, value, timestamp
}

// checkOld reads all of the log, and compares the bytes with those of the files
// and the records with those that were sent.
func checkOld(t testing.TB, l *Log, topic string, want []byte) {
	t.Helper()
	if l.StartOffset() != 0 || l.EndOffset() != oldEnd || l.LastStableOffset() != l.HighWatermark() {
		t.Fatalf("%s: offsets are %d to %d", topic, l.StartOffset(), l.EndOffset())
	}
	var got []byte
	next := int64(0)
	for next < oldEnd {
		r, err := l.Read(next, 1<<20, oldEnd, false)
		must(t, err)
		if got, err = r.AppendTo(got); err != nil {
			t.Fatal(err)
		}
		for rest := got[len(got)-r.Len:]; len(rest) > 0; {
			var b record.Batch
			b, rest, err = record.NextEntry(rest)
			must(t, err)
			must(t, record.Message(b).CheckCRC())
			for rec, err := range record.Message(b).Records(1 << 20) {
				must(t, err)
				key, value, timestamp := sent(next)
				switch topic {
				case "format0":
					timestamp = record.NoTimestamp
				case "format1-stamped":
					timestamp = rec.Timestamp
				}
				if rec.Offset != next || rec.Timestamp != timestamp || !bytes.Equal(rec.Key, key) || (rec.Key == nil) != (key == nil) ||
					!bytes.Equal(rec.Value, value) || (rec.Value == nil) != (value == nil) {
					t.Fatalf("%s: record %d is %d@%d %q=%q", topic, next, rec.Offset, rec.Timestamp, rec.Key, rec.Value)
				}
				next++
			}
		}
		r.Release()
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes were read that are not the %d in the files", topic, len(got), len(want))
	}
}

func TestOldFormatsAreServed(t *testing.T) {
	for _, topic := range oldTopics {
		l, mem, o, files := openOld(t, topic, nil)
		checkOld(t, l, topic, segmentsOf(files))
		// From the middle of compressed messages these are read as a whole.
		for offset := int64(36); offset < oldEnd; offset++ {
			r, err := l.Read(offset, 1, oldEnd, true)
			must(t, err)
			raw, err := r.AppendTo(nil)
			must(t, err)
			r.Release()
			var offsets []int64
			for rec := range record.Message(raw).Records(1 << 20) {
				offsets = append(offsets, rec.Offset)
			}
			if first := offset - offset%3; !slices.Equal(offsets, []int64{first, first + 1, first + 2}) {
				t.Fatalf("%s: read from %d begins with %v", topic, offset, offsets)
			}
		}
		must(t, l.Close(context.Background()))
		files[epochsFile] = formatEpochs(nil)
		compareFiles(t, mem, o.Dir, files) // nothing else was changed
	}
}

// After a crash, or without indexes, what is there is found again.
func TestOldFormatsAreRecovered(t *testing.T) {
	for _, topic := range oldTopics {
		for name, change := range map[string]func(o *Options, files map[string][]byte){
			"crash": func(o *Options, _ map[string][]byte) { o.Clean, o.RecoveryPoint = false, 0 },
			"crash, synced up to the middle of a message": func(o *Options, _ map[string][]byte) { o.Clean, o.RecoveryPoint = false, 130 },
			"no indexes": func(_ *Options, files map[string][]byte) {
				maps.DeleteFunc(files, func(name string, _ []byte) bool { return !strings.HasSuffix(name, logSuffix) })
			},
			"Kafka 0.10.0: no time indexes": func(_ *Options, files map[string][]byte) {
				maps.DeleteFunc(files, func(name string, _ []byte) bool { return strings.HasSuffix(name, timeSuffix) })
			},
		} {
			l, _, o, files := openOld(t, topic, change)
			checkOld(t, l, topic, segmentsOf(files))
			checkOldTimes(t, l, topic+", "+name, topic)
			// It goes on with batches of today, in the same segment.
			info := appendTo(t, l, batchOf(t, 2, 1700001000000), 1)
			if info.FirstOffset != oldEnd {
				t.Errorf("%s, %s: appended at %d", topic, name, info.FirstOffset)
			}
			l = reopen(t, l, o)
			if e, ok := l.LatestEpoch(); l.EndOffset() != oldEnd+2 || e != 1 || !ok || l.EpochAt(oldEnd-1) != -1 {
				t.Errorf("%s, %s: end %d, epoch %d", topic, name, l.EndOffset(), e)
			}
		}
	}
}

// checkOldTimes looks for every time at which, or beside which, there is a record.
func checkOldTimes(t *testing.T, l *Log, name, topic string) {
	t.Helper()
	if topic == "format1-stamped" {
		return // times that only the files know
	}
	for i := range int64(oldEnd) {
		_, _, at := sent(i)
		for _, ts := range []int64{at - 1, at, at + 1} {
			want := int64(-1)
			for j := int64(0); j < oldEnd && topic == "format1" && want < 0; j++ {
				if _, _, other := sent(j); other >= ts {
					want = j
				}
			}
			offset, timestamp, epoch, err := l.OffsetForTimestamp(ts, oldEnd)
			must(t, err)
			if offset != want || epoch != -1 {
				t.Fatalf("%s: time %d is at %d, epoch %d; want %d", name, ts, offset, epoch, want)
			}
			if _, _, found := sent(offset); offset >= 0 && timestamp != found {
				t.Fatalf("%s: record %d has time %d, want %d", name, offset, timestamp, found)
			}
		}
	}
	want := int64(-1)
	if topic == "format1" {
		want = oldEnd - 1
		if _, _, last := sent(want); last < 1700000000000+1000*(oldEnd-2) {
			want--
		}
	}
	if offset, _, _, err := l.MaxTimestampOffset(); err != nil || offset != want {
		t.Errorf("%s: the newest time is at %d, %v; want %d", name, offset, err, want)
	}
}

func TestOldFormatsByTime(t *testing.T) {
	for _, topic := range oldTopics {
		l, _, _, _ := openOld(t, topic, nil)
		checkOldTimes(t, l, topic, topic)
	}
	// With LogAppendTime all records of a message have its time, and the first one
	// is found.
	l, _, _, files := openOld(t, "format1-stamped", nil)
	for rest := segmentsOf(files); len(rest) > 0; {
		b, next, err := record.NextEntry(rest)
		must(t, err)
		var first record.MessageRecord
		for r := range record.Message(b).Records(1 << 20) {
			first = r
			break
		}
		offset, ts, _, err := l.OffsetForTimestamp(record.Message(b).Timestamp(), oldEnd)
		must(t, err)
		if offset > first.Offset || ts != record.Message(b).Timestamp() {
			t.Errorf("time %d is at %d (%d), the message begins at %d", record.Message(b).Timestamp(), offset, ts, first.Offset)
		}
		rest = next
	}
}

// A message that is damaged, or cut off, ends the log; compressed ones go as a
// whole.
func TestOldFormatsDamaged(t *testing.T) {
	for _, topic := range oldTopics {
		files := oldFiles(t, topic)
		names := slices.DeleteFunc(slices.Sorted(maps.Keys(files)), func(n string) bool { return !strings.HasSuffix(n, logSuffix) })
		last := names[len(names)-1]
		for name, damage := range map[string]func([]byte) []byte{
			"cut off": func(b []byte) []byte { return b[:len(b)-1] },
			"changed": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
			"zeros":   func(b []byte) []byte { clear(b[len(b)-30:]); return b },
		} {
			l, _, _, _ := openOld(t, topic, func(o *Options, files map[string][]byte) {
				o.Clean, o.RecoveryPoint = false, 0
				files[last] = damage(files[last])
			})
			if l.EndOffset() != oldEnd-3 {
				t.Errorf("%s, %s: the log ends at %d", topic, name, l.EndOffset())
			}
			if info := appendTo(t, l, batchOf(t, 1, 1700001000000), 1); info.FirstOffset != oldEnd-3 {
				t.Errorf("%s, %s: appended at %d", topic, name, info.FirstOffset)
			}
		}
	}
}

// By time, format 1 goes by its records' timestamps, and format 0 by when its
// files were written.
func TestOldFormatsExpire(t *testing.T) {
	for topic, times := range map[string]struct{ before, after time.Time }{
		"format1": {time.UnixMilli(1700000000000 + 60_000), time.UnixMilli(1700000000000 + 3600_000)},
		"format0": {time.Now().Add(time.Minute - time.Second), time.Now().Add(2 * time.Minute)},
	} {
		l, _, o, _ := openOld(t, topic, func(_ *Options, files map[string][]byte) {
			if topic == "format0" {
				// Kafka 0.10.2 entered times that the producer had sent into the index.
				maps.DeleteFunc(files, func(name string, _ []byte) bool { return strings.HasSuffix(name, timeSuffix) })
			}
		})
		cfg := *o.Config
		cfg.Delete, cfg.RetentionMS, cfg.RetentionBytes = true, time.Minute.Milliseconds(), -1
		l.SetConfig(&cfg)
		if n, err := l.DeleteExpired(times.before); n != 0 || err != nil {
			t.Errorf("%s: %d segments are gone too early, %v", topic, n, err)
		}
		if n, err := l.DeleteExpired(times.after); n < 2 || err != nil || l.StartOffset() != oldEnd {
			t.Errorf("%s: %d segments are gone, the log starts at %d, %v", topic, n, l.StartOffset(), err)
		}
	}
}

// A follower that gets messages of old formats can no more tell by leader epochs
// where logs part, as with Kafka.
func TestOldFormatsClearEpochs(t *testing.T) {
	mem := vfs.NewMem()
	o := testOptions(mem)
	l := mustOpen(t, o)
	appendTo(t, l, batchOf(t, 1, 1), 3)
	var message record.Batch
	for rest := segmentsOf(oldFiles(t, "format1")); ; {
		b, next, err := record.NextEntry(rest)
		must(t, err)
		if b.BaseOffset() == 1 {
			message = b
			break
		}
		rest = next
	}
	if _, err := l.AppendAsFollower(message, 3); err != nil {
		t.Fatal(err)
	}
	if e, ok := l.LatestEpoch(); ok {
		t.Errorf("latest epoch is %d", e)
	}
	l = reopen(t, l, o)
	if e, ok := l.LatestEpoch(); ok {
		t.Errorf("latest epoch is %d, read anew", e)
	}
	appendTo(t, l, batchOf(t, 1, 1), 4)
	if l.EpochAt(1) != -1 || l.EpochAt(2) != 4 {
		t.Errorf("epochs %d, %d", l.EpochAt(1), l.EpochAt(2))
	}
}
