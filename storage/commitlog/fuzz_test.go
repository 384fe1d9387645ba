package commitlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// addKafkas seeds a target with all files of that name that a real Kafka wrote.
func addKafkas(f *testing.F, name string, add func(data []byte)) {
	f.Helper()
	found := 0
	for _, root := range []string{"testdata", "../testdata"} {
		must(f, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if match, _ := filepath.Match(name, d.Name()); !match {
				return nil
			}
			data, err := os.ReadFile(path)
			if err == nil && len(data) > 0 && len(data) < 1<<20 {
				add(data)
				found++
			}
			return err
		}))
	}
	if found == 0 {
		f.Fatalf("no file of a real Kafka is named %s", name)
	}
}

func FuzzEpochsFile(f *testing.F) {
	addKafkas(f, epochsFile, func(data []byte) { f.Add(data) })
	for _, s := range []string{"", "0\n0\n", "0\n2\n0 0\n3 17\n", "0\n1\n0 0", "1\n0\n", "0\n9999999999\n", "0\n1\n-1 5\n", "0\n2\n3 5\n2 7\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseEpochs(data)
		if err != nil {
			if !errors.Is(err, errEpochsFile) {
				t.Fatal(err)
			}
			return
		}
		again, err := parseEpochs(formatEpochs(entries))
		if err != nil || !slices.Equal(again, entries) {
			t.Fatalf("%v becomes %v, %v", entries, again, err)
		}
	})
}

func FuzzMetadataFile(f *testing.F) {
	addKafkas(f, metadataFile, func(data []byte) { f.Add(data) })
	for _, s := range []string{"version: 0\ntopic_id: AAAAAAAAQACAAAAAAAAAAQ", "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA", "version: 1\ntopic_id: x", "", "version:0", "version: 0\r\ntopic_id: AAAAAAAAQACAAAAAAAAAAQ\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		id, err := parseMetadata(data)
		if err != nil {
			if !errors.Is(err, errMetadataFile) {
				t.Fatal(err)
			}
			return
		}
		again, err := parseMetadata(formatMetadata(id))
		if err != nil || again != id || id.IsZero() {
			t.Fatalf("%v becomes %v, %v", id, again, err)
		}
	})
}

// An index with any content is read without harm, and a lookup never gives an
// entry beyond what was asked for if the entries ascend.
func FuzzOffsetIndex(f *testing.F) {
	addKafkas(f, "*"+indexSuffix, func(data []byte) { f.Add(data, int64(150)) })
	f.Add([]byte{0, 0, 0, 5, 0, 0, 1, 0, 0, 0, 0, 9, 0, 0, 2, 0}, int64(7))
	f.Add(make([]byte, 64), int64(3))
	f.Add([]byte{0xff, 1, 2}, int64(-1))
	f.Fuzz(func(t *testing.T, data []byte, offset int64) {
		x := &offsetIndex{}
		x.init(fuzzFile(t, data), 100, 10<<20)
		at, _, err := x.lookup(offset)
		if err != nil {
			t.Fatal(err)
		}
		if ascending(data, offsetEntrySize) && at > max(offset, 100) {
			t.Fatalf("lookup of %d gives %d", offset, at)
		}
		must(t, x.truncate(offset))
		must(t, x.add(1<<20, 1<<20))
		must(t, x.seal())
	})
}

func FuzzTimeIndex(f *testing.F) {
	addKafkas(f, "*"+timeSuffix, func(data []byte) { f.Add(data, int64(1<<40)) })
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 2, 0}, int64(7))
	f.Add(make([]byte, 120), int64(3))
	f.Fuzz(func(t *testing.T, data []byte, ts int64) {
		x := &timeIndex{}
		x.init(fuzzFile(t, data), 100, 10<<20)
		s, err := x.lookup(ts)
		if err != nil {
			t.Fatal(err)
		}
		if ascending(data, timeEntrySize) && s.timestamp > max(ts, -1) {
			t.Fatalf("lookup of %d gives %d", ts, s.timestamp)
		}
		_, err = x.last()
		must(t, err)
		must(t, x.truncate(150))
		must(t, x.add(stamp{1 << 60, 1 << 20}))
		must(t, x.seal())
	})
}

func ascending(data []byte, width int) bool {
	var last []byte
	for e := range slices.Chunk(data[:len(data)/width*width], width) {
		if e[0] >= 0x80 || last != nil && bytes.Compare(last, e) >= 0 {
			return false
		}
		last = e
	}
	return true
}

func FuzzTxnIndex(f *testing.F) {
	entry := binary.BigEndian.AppendUint64([]byte{0, 0}, 1)
	for _, v := range []uint64{3, 7, 8} {
		entry = binary.BigEndian.AppendUint64(entry, v)
	}
	addKafkas(f, "*"+txnSuffix, func(data []byte) { f.Add(data) })
	f.Add(entry)
	f.Add(append(slices.Clone(entry), entry[:20]...))
	f.Fuzz(func(t *testing.T, data []byte) {
		x := &txnIndex{}
		x.init(fuzzFile(t, data), true)
		err := x.check(5)
		if err != nil && !errors.Is(err, errTxnIndex) {
			t.Fatal(err)
		}
		if _, _, err := x.collect(nil, 0, 10); err != nil && !errors.Is(err, errTxnIndex) {
			t.Fatal(err)
		}
	})
}

func fuzzFile(t testing.TB, data []byte) *cachedFile {
	mem := vfs.NewMem()
	must(t, vfs.WriteFile(mem, "/"+fileName(0, txnSuffix), data, false))
	return newCachedFile(NewFileCache(3), &logDir{fs: mem, path: "/"}, 0, txnSuffix)
}

// Recovery of a segment with any content leaves a log that is sound, and that a
// clean reopening finds unchanged.
func FuzzRecovery(f *testing.F) {
	o, file, batches := tailLog(f)
	whole := bytes.Join(toSlices(batches), nil)
	f.Add(whole, int64(0))
	f.Add(whole[:len(whole)-5], int64(0))
	f.Add(append(slices.Clone(whole), whole...), int64(3))
	f.Add(append(slices.Clone(whole), make([]byte, 100)...), int64(0))
	addKafkas(f, "*"+logSuffix, func(data []byte) { f.Add(data, int64(0)) })
	o.Config.SegmentBytes = 1 << 20
	f.Fuzz(func(t *testing.T, data []byte, point int64) {
		mem := vfs.NewMem()
		must(t, mem.MkdirAll(o.Dir, 0o755))
		must(t, vfs.WriteFile(mem, file, data, true))
		o := o
		o.FS, o.RecoveryPoint = mem, point
		l, err := Open(o)
		must(t, err)
		defer l.Abandon()
		content := contentOf(t, l)
		if !bytes.HasPrefix(data, content) {
			t.Fatal("the log holds what was not in the file")
		}
		end := l.EndOffset()
		must(t, l.Close(context.Background()))
		checkClosed(t, mem, o.Dir, 0, end)
		o.Clean, o.RecoveryPoint = true, end
		again, err := Open(o)
		must(t, err)
		defer again.Abandon()
		if again.EndOffset() != end || !bytes.Equal(contentOf(t, again), content) {
			t.Fatalf("reopened it ends at %d, not %d", again.EndOffset(), end)
		}
	})
}
