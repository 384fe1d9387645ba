package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

func cacheFiles(t *testing.T, limit, n int) (*vfs.Mem, *FileCache, []*cachedFile) {
	t.Helper()
	mem := vfs.NewMem()
	c := NewFileCache(limit)
	dir := &logDir{fs: mem, path: "/d"}
	must(t, mem.MkdirAll("/d", 0o755))
	var files []*cachedFile
	for i := range n {
		must(t, vfs.WriteFile(mem, filepath.Join("/d", fileName(int64(i), logSuffix)), fmt.Append(nil, "f", i), false))
		files = append(files, newCachedFile(c, dir, int64(i), logSuffix))
	}
	return mem, c, files
}

func readName(f *cachedFile) (string, error) {
	buf := make([]byte, 8)
	var n int
	err := f.with(func(file vfs.File) (err error) {
		n, _ = file.ReadAt(buf, 0)
		return nil
	})
	return string(buf[:n]), err
}

func TestFileCacheIsBounded(t *testing.T) {
	mem, c, files := cacheFiles(t, 5, 50)
	for range 3 {
		for i, f := range files {
			if got, err := readName(f); err != nil || got != fmt.Sprint("f", i) {
				t.Fatalf("file %d holds %q, %v", i, got, err)
			}
			if mem.OpenFiles() > 5 || c.Open() != mem.OpenFiles() {
				t.Fatalf("%d files are open, the cache says %d", mem.OpenFiles(), c.Open())
			}
		}
	}
	// One that is used again and again stays open.
	hot := files[0]
	for i := range 100 {
		_, err := readName(hot)
		must(t, err)
		before := hot.refs.Load()
		_, err = readName(files[1+i%20])
		must(t, err)
		if before < 0 {
			t.Fatal("the file is not open after its use")
		}
	}
	if hot.refs.Load() < 0 {
		t.Error("the file in constant use was closed")
	}
}

func TestFileCacheKeepsWhatIsInUse(t *testing.T) {
	mem, _, files := cacheFiles(t, 3, 10)
	for _, f := range files {
		_, err := f.acquire()
		must(t, err)
	}
	if mem.OpenFiles() != 10 {
		t.Errorf("%d files are open while 10 are in use", mem.OpenFiles())
	}
	for _, f := range files {
		f.release()
	}
	_, err := readName(newCachedFile(files[0].cache, files[0].dir, 3, logSuffix))
	must(t, err)
	if mem.OpenFiles() > 3 {
		t.Errorf("%d files stay open", mem.OpenFiles())
	}
}

func TestFileCacheDiscardAndRename(t *testing.T) {
	mem, _, files := cacheFiles(t, 3, 1)
	f := files[0]
	open, err := f.acquire()
	must(t, err)
	must(t, f.setState(deletedSuffix))
	f.discard()
	f.discard()
	must(t, mem.Remove("/d/"+fileName(0, logSuffix)+deletedSuffix))
	buf := make([]byte, 2)
	if _, err := open.ReadAt(buf, 0); err != nil || string(buf) != "f0" {
		t.Errorf("a file in use holds %q after it was removed, %v", buf, err)
	}
	if _, err := f.acquire(); !errors.Is(err, fs.ErrNotExist) && err != nil {
		t.Errorf("acquire after discard: %v", err)
	} else if err == nil {
		f.release() // it is still open, for the other user
	}
	f.release()
	if mem.OpenFiles() != 0 {
		t.Errorf("%d files are open", mem.OpenFiles())
	}
	if _, err := f.acquire(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("acquire after the end: %v", err)
	}
}

func TestFileCacheConcurrently(t *testing.T) {
	mem, c, files := cacheFiles(t, 4, 12)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 3))
			for range 3000 {
				i := rng.IntN(len(files))
				if got, err := readName(files[i]); err != nil || got != fmt.Sprint("f", i) {
					t.Errorf("file %d holds %q, %v", i, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if mem.OpenFiles() > 4+8 || c.Open() != mem.OpenFiles() {
		t.Errorf("%d files are open, the cache says %d", mem.OpenFiles(), c.Open())
	}
	for _, f := range files {
		f.discard()
	}
	if mem.OpenFiles() != 0 || c.Open() != 0 {
		t.Errorf("%d files stay open, the cache says %d", mem.OpenFiles(), c.Open())
	}
}

// However many partitions there are, no more files are open than the cache allows.
func TestManyPartitions(t *testing.T) {
	n := 2000
	if testing.Short() {
		n = 500
	}
	mem := vfs.NewMem()
	cache := NewFileCache(40)
	logs := make([]*Log, n)
	for i := range logs {
		o := testOptions(mem)
		o.Dir, o.Files = fmt.Sprintf("/logs/t-%d", i), cache
		logs[i] = mustOpen(t, o)
	}
	b := batchOf(t, 1, 1)
	for round := range 2 {
		for i, l := range logs {
			appendTo(t, l, b, 0)
			if open := mem.OpenFiles(); open > 40 {
				t.Fatalf("round %d, partition %d: %d files are open", round, i, open)
			}
		}
	}
	for i, l := range logs {
		if got := len(readAll(t, l, 0, 2)); got != 2 {
			t.Fatalf("partition %d has %d records", i, got)
		}
	}
	if open := mem.OpenFiles(); open > 40 {
		t.Errorf("%d files are open", open)
	}
}
