package commitlog

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/producerstate"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// What Kafka 3.9.2 wrote; see testdata/README.md.
const goldenDir = "testdata/kafka-3.9.2/golden-0"

func goldenFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(goldenDir)
	must(t, err)
	for _, e := range entries {
		files[e.Name()], err = os.ReadFile(filepath.Join(goldenDir, e.Name()))
		must(t, err)
	}
	return files
}

func goldenOptions(fsys vfs.FS) Options {
	o := testOptions(fsys)
	o.Dir = "/logs/golden-0"
	o.Partition = protocol.TopicPartition{Topic: "golden", Partition: 0}
	o.Clean = true
	o.RecoveryPoint, o.HighWatermark = 49, 49
	o.Config.SegmentMS = 7 * 24 * 3600 * 1000 // the markers' timestamps are years after the records'
	o.ProducerIDExpiration = 1 << 62          // the fixture is old
	return o
}

func writeFiles(t *testing.T, fsys vfs.FS, dir string, files map[string][]byte) {
	t.Helper()
	must(t, fsys.MkdirAll(dir, 0o755))
	for name, data := range files {
		must(t, vfs.WriteFile(fsys, filepath.Join(dir, name), data, true))
	}
}

func TestGoldenIsServed(t *testing.T) {
	mem := vfs.NewMem()
	files := goldenFiles(t)
	writeFiles(t, mem, "/logs/golden-0", files)
	l := mustOpen(t, goldenOptions(mem))
	if l.StartOffset() != 0 || l.EndOffset() != 49 || l.LastStableOffset() != 48 {
		t.Errorf("offsets are %d to %d, stable %d; want 0 to 49, 48", l.StartOffset(), l.EndOffset(), l.LastStableOffset())
	}
	var got []byte
	for from := int64(0); from < 49; {
		r, err := l.Read(from, 1, 49, true)
		must(t, err)
		if got, err = r.AppendTo(got); err != nil {
			t.Fatal(err)
		}
		b := record.Batch(got[len(got)-r.Len:])
		must(t, b.CheckCRC())
		from = b.NextOffset()
		r.Release()
	}
	if want := append(slices.Clone(files["00000000000000000000.log"]), files["00000000000000000038.log"]...); !bytes.Equal(got, want) {
		t.Errorf("reading batch by batch gives %d bytes that differ from the %d in the files", len(got), len(want))
	}
	if id := l.TopicID().String(); !strings.HasSuffix(string(files["partition.metadata"]), id) || len(id) != 22 {
		t.Errorf("topic id is %s, the file says %q", id, files["partition.metadata"])
	}
	if e, ok := l.LatestEpoch(); e != 0 || !ok {
		t.Errorf("latest epoch is %d, %t", e, ok)
	}
	txns, err := l.AbortedTransactions(0, 49)
	must(t, err)
	if len(txns) != 2 || txns[0].LastOffset-txns[0].FirstOffset != 2 || txns[0].ProducerID != txns[1].ProducerID {
		t.Errorf("aborted transactions: %+v", txns)
	}
	if txns, err := l.AbortedTransactions(48, 49); err != nil || len(txns) != 0 {
		t.Errorf("aborted transactions at the end: %+v, %v", txns, err)
	}
	if n := len(l.Producers()); n != 4 {
		t.Errorf("%d producers, want 4", n)
	}
	offset, ts, epoch, err := l.OffsetForTimestamp(1700000000000+7*20, 49)
	if err != nil || offset != 19 || ts != 1700000000140 || epoch != 0 {
		t.Errorf("the 20th timestamp is found at %d (%d), epoch %d, %v", offset, ts, epoch, err)
	}
	must(t, l.Close(context.Background()))
	compareFiles(t, mem, "/logs/golden-0", files) // nothing was changed
}

// The same batches make the same files, byte for byte: the roll comes at the same
// place, the indexes have the same entries, the snapshots the same producers.
func TestGoldenIsReproduced(t *testing.T) {
	mem := vfs.NewMem()
	o := goldenOptions(mem)
	o.Clean, o.RecoveryPoint, o.HighWatermark = false, 0, 0
	l := mustOpen(t, o)
	files := goldenFiles(t)
	id, err := parseMetadata(files[metadataFile])
	must(t, err)
	must(t, l.SetTopicID(id))
	must(t, l.AssignLeaderEpoch(0))
	for _, name := range []string{"00000000000000000000.log", "00000000000000000038.log"} {
		for rest := slices.Clone(files[name]); len(rest) > 0; {
			var b record.Batch
			b, rest, err = record.Next(rest)
			must(t, err)
			origin := record.Client
			if b.IsControl() {
				origin = record.Coordinator
			}
			appendWith(t, l, b, 0, origin)
		}
	}
	must(t, l.Close(context.Background()))
	compareFiles(t, mem, o.Dir, files)
}

func appendWith(t *testing.T, l *Log, b record.Batch, epoch int32, o record.Origin) {
	t.Helper()
	_, err := l.AppendAsLeader(b, epoch, o)
	must(t, err)
}

// After a crash the indexes are built anew, to the same bytes.
func TestGoldenIsRecovered(t *testing.T) {
	mem := vfs.NewMem()
	files := goldenFiles(t)
	damaged := map[string][]byte{}
	for name, data := range files {
		switch filepath.Ext(name) {
		case logSuffix, ".metadata", "":
			damaged[name] = data
		case indexSuffix, timeSuffix:
			damaged[name] = make([]byte, 10<<20) // as preallocated, and never written
		}
	}
	writeFiles(t, mem, "/logs/golden-0", damaged)
	o := goldenOptions(mem)
	o.Clean, o.RecoveryPoint = false, 0
	l := mustOpen(t, o)
	must(t, l.Close(context.Background()))
	compareFiles(t, mem, o.Dir, files)
}

func compareFiles(t *testing.T, fsys vfs.FS, dir string, want map[string][]byte) {
	t.Helper()
	names := dirNames(t, fsys, dir)
	for name, data := range want {
		if !slices.Contains(names, name) {
			t.Errorf("%s is missing", name)
			continue
		}
		got, err := vfs.ReadFile(fsys, filepath.Join(dir, name), 1<<30)
		must(t, err)
		if filepath.Ext(name) == snapshotSuffix {
			compareSnapshots(t, name, got, data)
		} else if !bytes.Equal(got, data) {
			t.Errorf("%s differs\ngot  %d bytes %x\nwant %d bytes %x", name, len(got), got[:min(len(got), 200)], len(data), data[:min(len(data), 200)])
		}
	}
	for _, name := range names {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is not one of Kafka's files", name)
		}
	}
}

// compareSnapshots ignores the order of the producers, which has no meaning.
func compareSnapshots(t *testing.T, name string, got, want []byte) {
	t.Helper()
	g, err := producerstate.Decode(got)
	must(t, err)
	w, err := producerstate.Decode(want)
	must(t, err)
	byID := func(a, b producerstate.Producer) int { return int(a.ID - b.ID) }
	slices.SortFunc(g, byID)
	slices.SortFunc(w, byID)
	if !slices.Equal(g, w) {
		t.Errorf("%s holds %+v, want %+v", name, g, w)
	}
}

// A new log has Kafka's files: indexes at full size, sparse.
func TestNewLogLayout(t *testing.T) {
	mem := vfs.NewMem()
	o := testOptions(mem)
	l := mustOpen(t, o)
	for name, size := range map[string]int64{
		"00000000000000000000.log":       0,
		"00000000000000000000.index":     10485760,
		"00000000000000000000.timeindex": 10485756,
	} {
		info, err := mem.Stat(filepath.Join(o.Dir, name))
		must(t, err)
		if info.Size() != size {
			t.Errorf("%s has %d bytes, want %d", name, info.Size(), size)
		}
	}
	must(t, l.SetTopicID(protocol.NewTopicID()))
	must(t, l.AssignLeaderEpoch(3))
	appendTo(t, l, batchOf(t, 1, time.Now().UnixMilli()), 3)
	got := dirNames(t, mem, o.Dir)
	want := []string{"00000000000000000000.index", "00000000000000000000.log", "00000000000000000000.timeindex", "leader-epoch-checkpoint", "partition.metadata"}
	if !slices.Equal(got, want) {
		t.Errorf("files are %v, want %v", got, want)
	}
}
