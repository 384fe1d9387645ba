package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The same contract holds for the real file system, the one in memory, and the
// faulty one while no fault is injected.
func TestContract(t *testing.T) {
	for _, c := range []struct {
		name string
		new  func(t *testing.T) (FS, string)
	}{
		{"OS", func(t *testing.T) (FS, string) { return OS(), t.TempDir() }},
		{"Mem", func(t *testing.T) (FS, string) { return NewMem(), "/" }},
		{"Faults", func(t *testing.T) (FS, string) { return NewFaults(NewMem()), "" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, test := range contract {
				t.Run(name, func(t *testing.T) {
					fsys, root := c.new(t)
					test(t, fsys, filepath.Join(root, "dir"))
				})
			}
		})
	}
}

var contract = map[string]func(t *testing.T, fsys FS, dir string){
	"open":       testOpen,
	"positions":  testPositions,
	"truncate":   testTruncate,
	"allocate":   testAllocate,
	"names":      testNames,
	"times":      testTimes,
	"rename":     testRename,
	"unlinked":   testUnlinked,
	"lock":       testLock,
	"space":      testSpace,
	"whole file": testWholeFile,
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustOpen(t *testing.T, fsys FS, name string, flag int) File {
	t.Helper()
	f, err := fsys.OpenFile(name, flag, 0o644)
	must(t, err)
	return f
}

func mustRead(t *testing.T, fsys FS, name string) string {
	t.Helper()
	b, err := ReadFile(fsys, name, 1<<20)
	must(t, err)
	return string(b)
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error is %v, want %v", err, want)
	}
}

func testOpen(t *testing.T, fsys FS, dir string) {
	name := filepath.Join(dir, "f")
	_, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	wantErr(t, err, fs.ErrNotExist) // no directory yet
	must(t, fsys.MkdirAll(dir, 0o755))
	_, err = fsys.OpenFile(name, os.O_RDWR, 0)
	wantErr(t, err, fs.ErrNotExist)
	f := mustOpen(t, fsys, name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if f.Name() != name {
		t.Errorf("Name is %q, want %q", f.Name(), name)
	}
	_, err = fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	wantErr(t, err, fs.ErrExist)
	_, err = f.WriteAt([]byte("abc"), 0)
	must(t, err)
	must(t, f.Close())
	_, err = f.WriteAt([]byte("abc"), 0)
	wantErr(t, err, fs.ErrClosed)

	r := mustOpen(t, fsys, name, os.O_RDONLY)
	if _, err := r.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a file opened for reading can be written")
	}
	must(t, r.Close())
	w := mustOpen(t, fsys, name, os.O_WRONLY|os.O_TRUNC)
	if size, err := w.Size(); err != nil || size != 0 {
		t.Errorf("after O_TRUNC the size is %d, %v", size, err)
	}
	if _, err := w.ReadAt(make([]byte, 1), 0); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("reading a file opened for writing gives %v", err)
	}
	must(t, w.Close())
}

func testPositions(t *testing.T, fsys FS, dir string) {
	must(t, fsys.MkdirAll(dir, 0o755))
	f := mustOpen(t, fsys, filepath.Join(dir, "f"), os.O_RDWR|os.O_CREATE)
	defer f.Close()
	_, err := f.WriteAt([]byte("tail"), 10000)
	must(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte("x"), 5000), 4090)
	must(t, err)
	must(t, f.Sync())
	want := append(make([]byte, 4090), bytes.Repeat([]byte("x"), 5000)...)
	want = append(append(want, make([]byte, 910)...), "tail"...)
	got := make([]byte, len(want))
	if n, err := f.ReadAt(got, 0); n != len(want) || err != nil && err != io.EOF {
		t.Fatalf("ReadAt: %d, %v", n, err)
	}
	if !bytes.Equal(got, want) {
		t.Error("what was written, with its hole, does not come back")
	}
	if n, err := f.ReadAt(got[:10], 10000); n != 4 || err != io.EOF || string(got[:4]) != "tail" {
		t.Errorf("short read: %d, %v", n, err)
	}
	if n, err := f.ReadAt(got[:10], 20000); n != 0 || err != io.EOF {
		t.Errorf("read past the end: %d, %v", n, err)
	}
}

func testTruncate(t *testing.T, fsys FS, dir string) {
	must(t, fsys.MkdirAll(dir, 0o755))
	name := filepath.Join(dir, "f")
	f := mustOpen(t, fsys, name, os.O_RDWR|os.O_CREATE)
	defer f.Close()
	_, err := f.WriteAt([]byte("0123456789"), 0)
	must(t, err)
	must(t, f.Truncate(4))
	must(t, f.Truncate(8))
	if got, want := mustRead(t, fsys, name), "0123\x00\x00\x00\x00"; got != want {
		t.Errorf("cut and extended: %q, want %q", got, want)
	}
	must(t, f.Truncate(10<<20)) // sparse
	if size, err := f.Size(); err != nil || size != 10<<20 {
		t.Errorf("Size: %d, %v", size, err)
	}
}

func testAllocate(t *testing.T, fsys FS, dir string) {
	must(t, fsys.MkdirAll(dir, 0o755))
	name := filepath.Join(dir, "f")
	f := mustOpen(t, fsys, name, os.O_RDWR|os.O_CREATE)
	defer f.Close()
	_, err := f.WriteAt([]byte("abc"), 0)
	must(t, err)
	must(t, f.Allocate(10_000))
	if got := mustRead(t, fsys, name); len(got) != 10_000 || got[:3] != "abc" {
		t.Errorf("allocating 10,000 bytes of a file of three leaves %d, %q …", len(got), got[:min(3, len(got))])
	}
	must(t, f.Allocate(5_000))
	if size, err := f.Size(); err != nil || size != 10_000 {
		t.Errorf("allocating less than there is leaves %d bytes, %v", size, err)
	}
}

// Where the file system cannot allocate, the blocks are written.
func TestFill(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f := mustOpen(t, OS(), name, os.O_RDWR|os.O_CREATE)
	defer f.Close()
	const size = 100_000
	_, err := f.WriteAt([]byte("abc"), 0)
	must(t, err)
	must(t, f.(*osFile).fill(size))
	if got := mustRead(t, OS(), name); len(got) != size || got[:3] != "abc" || strings.Count(got, "\x00") > size/100 {
		t.Errorf("%d bytes are written, %d of them zero", len(got), strings.Count(got, "\x00"))
	}
}

func testNames(t *testing.T, fsys FS, dir string) {
	sub := filepath.Join(dir, "a", "b")
	must(t, fsys.MkdirAll(sub, 0o755))
	must(t, fsys.MkdirAll(sub, 0o755))
	must(t, WriteFile(fsys, filepath.Join(dir, "z"), []byte("zz"), false))
	must(t, WriteFile(fsys, filepath.Join(dir, "c"), nil, true))
	if err := fsys.MkdirAll(filepath.Join(dir, "z", "y"), 0o755); err == nil {
		t.Error("a directory can be made in a file")
	}
	entries, err := fsys.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		if e.IsDir() != (e.Name() == "a") {
			t.Errorf("IsDir of %s is %t", e.Name(), e.IsDir())
		}
	}
	if len(names) != 3 || names[0] != "a" || names[1] != "c" || names[2] != "z" {
		t.Errorf("ReadDir: %v", names)
	}
	info, err := fsys.Stat(filepath.Join(dir, "z"))
	must(t, err)
	if info.Size() != 2 || info.IsDir() || info.Name() != "z" || info.ModTime().IsZero() {
		t.Errorf("Stat: %v %v %v %v", info.Size(), info.IsDir(), info.Name(), info.ModTime())
	}
	must(t, fsys.SyncDir(dir))
	if err := fsys.Remove(filepath.Join(dir, "a")); err == nil {
		t.Error("a directory that is not empty can be removed")
	}
	must(t, fsys.Remove(filepath.Join(dir, "z")))
	wantErr(t, fsys.Remove(filepath.Join(dir, "z")), fs.ErrNotExist)
	must(t, fsys.RemoveAll(filepath.Join(dir, "a")))
	must(t, fsys.RemoveAll(filepath.Join(dir, "a")))
	_, err = fsys.Stat(sub)
	wantErr(t, err, fs.ErrNotExist)
	_, err = fsys.ReadDir(sub)
	wantErr(t, err, fs.ErrNotExist)
	wantErr(t, fsys.SyncDir(sub), fs.ErrNotExist)
}

func testTimes(t *testing.T, fsys FS, dir string) {
	must(t, fsys.MkdirAll(dir, 0o755))
	name := filepath.Join(dir, "f")
	must(t, WriteFile(fsys, name, []byte("abc"), false))
	want := time.UnixMilli(1_700_000_000_123)
	must(t, fsys.SetModTime(name, want))
	if info, err := fsys.Stat(name); err != nil || !info.ModTime().Equal(want) {
		t.Errorf("modified %v, %v; want %v", info.ModTime(), err, want)
	}
	if err := fsys.SetModTime(name+"-", want); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a file that is not there: %v", err)
	}
}

func testRename(t *testing.T, fsys FS, dir string) {
	must(t, fsys.MkdirAll(filepath.Join(dir, "full"), 0o755))
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "full", "b")
	must(t, WriteFile(fsys, a, []byte("new"), false))
	must(t, WriteFile(fsys, b, []byte("old"), false))
	must(t, fsys.Rename(a, b))
	if got := mustRead(t, fsys, b); got != "new" {
		t.Errorf("after a rename over a file it holds %q", got)
	}
	wantErr(t, fsys.Rename(a, b), fs.ErrNotExist)
	if err := fsys.Rename(b, filepath.Join(dir, "full")); err == nil {
		t.Error("a file can replace a directory")
	}
	open := mustOpen(t, fsys, b, os.O_RDWR)
	defer open.Close()
	must(t, fsys.Rename(filepath.Join(dir, "full"), filepath.Join(dir, "moved")))
	_, err := open.WriteAt([]byte("NEW"), 0)
	must(t, err)
	if got := mustRead(t, fsys, filepath.Join(dir, "moved", "b")); got != "NEW" {
		t.Errorf("a file in a renamed directory holds %q", got)
	}
}

func testUnlinked(t *testing.T, fsys FS, dir string) {
	must(t, fsys.MkdirAll(dir, 0o755))
	name := filepath.Join(dir, "f")
	must(t, WriteFile(fsys, name, []byte("still here"), false))
	f := mustOpen(t, fsys, name, os.O_RDONLY)
	defer f.Close()
	must(t, fsys.Remove(name))
	got := make([]byte, 10)
	if _, err := f.ReadAt(got, 0); err != nil || string(got) != "still here" {
		t.Errorf("an open file that was removed: %q, %v", got, err)
	}
}

func testLock(t *testing.T, fsys FS, dir string) {
	must(t, fsys.MkdirAll(dir, 0o755))
	name := filepath.Join(dir, ".lock")
	l, err := fsys.Lock(name)
	must(t, err)
	_, err = fsys.Lock(name)
	wantErr(t, err, ErrLocked)
	// Reading the file and closing it must not give the lock away, as it would
	// with a plain POSIX lock.
	_ = mustRead(t, fsys, name)
	_, err = fsys.Lock(name)
	wantErr(t, err, ErrLocked)
	must(t, l.Close())
	l, err = fsys.Lock(name)
	must(t, err)
	must(t, l.Close())
}

func testSpace(t *testing.T, fsys FS, dir string) {
	must(t, fsys.MkdirAll(dir, 0o755))
	usable, total, err := fsys.Space(dir)
	if err != nil || usable <= 0 || total < usable {
		t.Errorf("Space: %d of %d, %v", usable, total, err)
	}
	_, _, err = fsys.Space(filepath.Join(dir, "nowhere"))
	wantErr(t, err, fs.ErrNotExist)
}

func testWholeFile(t *testing.T, fsys FS, dir string) {
	must(t, fsys.MkdirAll(dir, 0o755))
	name := filepath.Join(dir, "f")
	for _, content := range []string{"a longer first content", "short", ""} {
		must(t, WriteFileAtomic(fsys, name, []byte(content)))
		if got := mustRead(t, fsys, name); got != content {
			t.Errorf("content is %q, want %q", got, content)
		}
	}
	if entries, _ := fsys.ReadDir(dir); len(entries) != 1 {
		t.Errorf("%d files are left", len(entries))
	}
	must(t, WriteFile(fsys, name, []byte("123456"), false))
	if _, err := ReadFile(fsys, name, 5); err == nil {
		t.Error("ReadFile reads more than its bound")
	}
}
