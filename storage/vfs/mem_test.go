package vfs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// outcomes collects what many crashes from one moment leave of a file: its
// content, or "gone".
func outcomes(m *Mem, name string) map[string]int {
	got := map[string]int{}
	for seed := range uint64(400) {
		after := m.Crash(rand.New(rand.NewPCG(seed, 1)))
		content, err := ReadFile(after, name, 1<<20)
		if err != nil {
			content = []byte("gone")
		}
		got[strings.ReplaceAll(string(content), "\x00", ".")]++
	}
	return got
}

func check(t *testing.T, got map[string]int, possible ...string) {
	t.Helper()
	for _, p := range possible {
		if got[p] == 0 {
			t.Errorf("no crash leaves %q", p)
		}
		delete(got, p)
	}
	for p := range got {
		t.Errorf("a crash leaves %q", p)
	}
}

func TestCrashKeepsWhatIsSynced(t *testing.T) {
	m := NewMem()
	must(t, m.MkdirAll("d", 0o755))
	must(t, m.SyncDir("/"))
	must(t, WriteFile(m, "d/f", []byte("ab"), true))
	check(t, outcomes(m, "d/f"), "gone", "ab") // the name is not durable
	must(t, m.SyncDir("d"))
	check(t, outcomes(m, "d/f"), "ab")

	f := mustOpen(t, m, "d/f", os.O_RDWR)
	_, err := f.WriteAt([]byte("X"), 1)
	must(t, err)
	check(t, outcomes(m, "d/f"), "ab", "aX")
	must(t, f.Sync())
	check(t, outcomes(m, "d/f"), "aX")
	must(t, f.Truncate(1))
	check(t, outcomes(m, "d/f"), "aX", "a")
	_, err = f.WriteAt([]byte("Y"), 1)
	must(t, err)
	check(t, outcomes(m, "d/f"), "aX", "a", "aY", "a.")
}

func TestCrashTearsWrites(t *testing.T) {
	m := NewMem()
	must(t, WriteFile(m, "f", nil, true))
	must(t, m.SyncDir("/"))
	must(t, WriteFile(m, "f", []byte("abcdefg"), false))
	check(t, outcomes(m, "f"), "", "abcdefg", "abcde", "abcde..", ".....fg", ".......")

	f := mustOpen(t, m, "f", os.O_RDWR)
	must(t, f.Truncate(3))
	must(t, f.Sync())
	_, err := f.WriteAt([]byte("DEFG"), 3)
	must(t, err)
	check(t, outcomes(m, "f"), "abc", "abcDEFG", "abcDE", "abcDE..", "abc..FG", "abc....")
}

func TestCrashNames(t *testing.T) {
	m := NewMem()
	must(t, WriteFile(m, "old", []byte("1"), true))
	must(t, WriteFile(m, "gone", []byte("1"), true))
	must(t, m.SyncDir("/"))
	must(t, m.Rename("old", "new"))
	must(t, m.Remove("gone"))
	both := map[string]int{}
	for seed := range uint64(200) {
		after := m.Crash(rand.New(rand.NewPCG(seed, 2)))
		entries, _ := after.ReadDir("/")
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		both[fmt.Sprint(names)]++
	}
	check(t, both, "[old]", "[new]", "[gone old]", "[gone new]")
	must(t, m.SyncDir("/"))
	check(t, outcomes(m, "new"), "1")
	check(t, outcomes(m, "gone"), "gone")
}

// A directory that was renamed keeps the files whose names are durable in it.
func TestCrashRenamedDirectory(t *testing.T) {
	m := NewMem()
	must(t, m.MkdirAll("d", 0o755))
	must(t, WriteFile(m, "d/f", []byte("1"), true))
	must(t, m.SyncDir("d"))
	must(t, m.SyncDir("/"))
	must(t, m.Rename("d", "e"))
	got := outcomes(m, "d/f")
	for k, v := range outcomes(m, "e/f") {
		got[k] += v
	}
	check(t, got, "1", "gone")
	must(t, m.SyncDir("/"))
	check(t, outcomes(m, "e/f"), "1")
}

func TestCrashRepeats(t *testing.T) {
	m := NewMem()
	for i := range 20 {
		must(t, WriteFile(m, fmt.Sprint("f", i), []byte("content"), i%2 == 0))
	}
	dump := func(m *Mem) string {
		var b strings.Builder
		entries, _ := m.ReadDir("/")
		for _, e := range entries {
			fmt.Fprintf(&b, "%s %q\n", e.Name(), mustRead(t, m, e.Name()))
		}
		return b.String()
	}
	for seed := range uint64(20) {
		a, b := m.Crash(rand.New(rand.NewPCG(seed, 0))), m.Crash(rand.New(rand.NewPCG(seed, 0)))
		if dump(a) != dump(b) {
			t.Fatalf("seed %d gives different outcomes", seed)
		}
	}
}

func TestWriteFileAtomicSurvivesAnyCrash(t *testing.T) {
	m := NewMem()
	must(t, WriteFileAtomic(m, "f", []byte("old content")))
	faults := NewFaults(m)
	// Stop after each of its operations in turn, and crash there.
	for n := int64(1); ; n++ {
		before := faults.Calls()
		faults.Inject(func(c Call) error {
			if c.N >= before+n {
				return ErrInjected
			}
			return nil
		})
		err := WriteFileAtomic(faults, "f", []byte("new"))
		if err == nil {
			break
		}
		for content := range outcomes(m, "f") {
			if content != "old content" && content != "new" {
				t.Errorf("stopped after operation %d, a crash leaves %q", n, content)
			}
		}
		must(t, WriteFileAtomic(m, "f", []byte("old content")))
	}
	check(t, outcomes(m, "f"), "new")
}

func TestKillKeepsEverythingWritten(t *testing.T) {
	m := NewMem()
	must(t, WriteFile(m, "f", []byte("ab"), false))
	_, err := m.Lock("l")
	must(t, err)
	k := m.Kill()
	if got := mustRead(t, k, "f"); got != "ab" {
		t.Errorf("after a kill the file holds %q", got)
	}
	if _, err := k.Lock("l"); err != nil {
		t.Errorf("the lock outlives the process: %v", err)
	}
	check(t, outcomes(k, "f"), "gone", "", "ab", "..")
	must(t, WriteFile(k, "f", []byte("zz"), false))
	if got := mustRead(t, m, "f"); got != "ab" {
		t.Errorf("the twin's write shows in the original: %q", got)
	}
}

func TestFailedSyncLosesData(t *testing.T) {
	m := NewMem()
	f := NewFaults(m)
	must(t, WriteFileAtomic(m, "f", []byte("a")))
	file := mustOpen(t, f, "f", os.O_RDWR)
	_, err := file.WriteAt([]byte("b"), 0)
	must(t, err)
	f.Inject(FailOp(OpSync, "f", ErrInjected))
	wantErr(t, file.Sync(), ErrInjected)
	f.Inject(nil)
	must(t, file.Sync()) // succeeds, and means nothing
	if got := mustRead(t, m, "f"); got != "b" {
		t.Errorf("the cache holds %q", got)
	}
	check(t, outcomes(m, "f"), "a")
}

func TestFaults(t *testing.T) {
	m := NewMem()
	f := NewFaults(m)
	file := mustOpen(t, f, "f", os.O_RDWR|os.O_CREATE)
	f.Inject(FullAfter(3))
	if n, err := file.WriteAt([]byte("ab"), 0); n != 2 || err != nil {
		t.Errorf("write within the space: %d, %v", n, err)
	}
	n, err := file.WriteAt([]byte("cd"), 2)
	if n != 1 || !errors.Is(err, ErrNoSpace) {
		t.Errorf("write beyond the space: %d, %v", n, err)
	}
	if got := mustRead(t, m, "f"); got != "abc" {
		t.Errorf("a short write leaves %q", got)
	}
	f.Inject(FailNth(f.Calls()+2, ErrInjected))
	must(t, file.Sync())
	wantErr(t, file.Truncate(0), ErrInjected)
	must(t, file.Truncate(0))
	f.Inject(FailOp(OpRename, "f", ErrInjected))
	wantErr(t, f.Rename("f", "g"), ErrInjected)
	if m.OpenFiles() != 1 {
		t.Errorf("%d files are open, want 1", m.OpenFiles())
	}
}

// What does not fit is not written, and what is removed makes room.
func TestCapacity(t *testing.T) {
	m := NewMem()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	full := func(err error) {
		t.Helper()
		if !NoRoom(err) {
			t.Fatalf("on a full disk: %v", err)
		}
	}
	must(m.MkdirAll("/d", 0o755))
	a, err := m.OpenFile("/d/a", os.O_RDWR|os.O_CREATE, 0o644)
	must(err)
	m.SetCapacity(m.Used() + 2*pageSize)
	n, err := a.WriteAt(make([]byte, 3*pageSize), 100)
	full(err)
	if size, _ := a.Size(); n != 2*pageSize-100 || size != 2*pageSize {
		t.Errorf("wrote %d bytes, of the file there are %d", n, size)
	}
	_, err = a.WriteAt(make([]byte, pageSize), pageSize) // blocks that are there
	must(err)
	must(a.Truncate(100 * pageSize)) // a hole
	_, err = a.WriteAt([]byte("x"), 50*pageSize)
	full(err)
	full(m.MkdirAll("/d/e", 0o755))
	must(a.Truncate(pageSize))
	full(a.Allocate(3 * pageSize))
	if size, _ := a.Size(); size != 2*pageSize {
		t.Errorf("allocated up to %d", size)
	}
	_, err = a.WriteAt([]byte("into what was allocated"), pageSize)
	must(err)
	for i := range namesPerBlock - 1 {
		must(WriteFile(m, fmt.Sprint("/d/empty", i), nil, false))
	}
	full(WriteFile(m, "/d/one more name", nil, false))
	full(m.Rename("/d/empty1", "/d/another name"))
	must(m.Rename("/d/empty1", "/d/empty2"))
	must(m.Remove("/d/a"))
	_, err = a.ReadAt(make([]byte, 10), 0)
	must(err)
	full(m.MkdirAll("/d/f/g", 0o755)) // the file is open still
	before := m.Used()
	must(a.Close())
	if m.Used() != before-2*pageSize {
		t.Errorf("closing the last handle of a removed file frees %d bytes", before-m.Used())
	}
	must(WriteFile(m, "/d/b", make([]byte, 2*pageSize), false))
	if k := m.Kill(); k.Used() != m.Used() {
		t.Errorf("%d bytes used, after a kill %d", m.Used(), k.Used())
	}
	usable, total, err := m.Space("/d")
	if err != nil || usable != 0 || total != m.Used() {
		t.Errorf("space: %d of %d, %v", usable, total, err)
	}
}
