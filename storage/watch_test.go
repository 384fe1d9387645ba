package storage

import (
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// use does every operation that a log can do, in a directory that has the file
// /d/t-0/x, and returns their errors.
func use(fsys vfs.FS) map[string]error {
	errs := map[string]error{}
	f, err := fsys.OpenFile("/d/t-0/x", os.O_RDWR, 0)
	errs["open"] = err
	if err == nil {
		_, errs["write"] = f.WriteAt([]byte("abc"), 0)
		_, errs["read"] = f.ReadAt(make([]byte, 3), 0)
		errs["truncate"] = f.Truncate(3)
		errs["sync"] = f.Sync()
		_, errs["size"] = f.Size()
		f.Close()
	}
	created, err := fsys.OpenFile("/d/t-0/y", os.O_RDWR|os.O_CREATE, 0o644)
	errs["create"] = err
	if err == nil {
		created.Close()
	}
	errs["modtime"] = fsys.SetModTime("/d/t-0/x", time.Now())
	errs["mkdir"] = fsys.MkdirAll("/d/t-1", 0o755)
	errs["rename"] = fsys.Rename("/d/t-0/y", "/d/t-0/z")
	errs["remove"] = fsys.Remove("/d/t-0/z")
	errs["removeall"] = fsys.RemoveAll("/d/t-1")
	_, errs["readdir"] = fsys.ReadDir("/d")
	_, errs["stat"] = fsys.Stat("/d")
	errs["syncdir"] = fsys.SyncDir("/d/t-0")
	_, _, errs["space"] = fsys.Space("/d")
	return errs
}

func watched(t *testing.T) (*vfs.Faults, *directory, chan *directory) {
	faults := vfs.NewFaults(vfs.NewMem())
	put(t, faults, "/d/t-0/x", "abc")
	failed := make(chan *directory, 1)
	return faults, newDirectory("/d", faults, 0, failed, slog.New(slog.DiscardHandler)), failed
}

func TestEveryIOErrorTakesTheDirectoryOffline(t *testing.T) {
	for _, op := range []vfs.Op{
		vfs.OpOpen, vfs.OpRead, vfs.OpWrite, vfs.OpTruncate, vfs.OpSync, vfs.OpMkdir, vfs.OpRename,
		vfs.OpRemove, vfs.OpModTime, vfs.OpReadDir, vfs.OpStat, vfs.OpSyncDir, vfs.OpSpace,
	} {
		t.Run(string(op), func(t *testing.T) {
			faults, d, failed := watched(t)
			for name, err := range use(d.fs) {
				if err != nil {
					t.Fatalf("%s without a fault: %v", name, err)
				}
			}
			faults.Inject(vfs.FailOp(op, "", vfs.ErrInjected))
			use(d.fs)
			if d.online() || !errors.Is(d.cause(), vfs.ErrInjected) {
				t.Fatalf("still online, cause %v", d.cause())
			}
			select {
			case <-failed:
			default:
				t.Error("nobody was told")
			}
			before := faults.Calls()
			for name, err := range use(d.fs) {
				if !errors.Is(err, kerr.KafkaStorageError) {
					t.Errorf("%s of an offline directory: %v", name, err)
				}
			}
			if n := faults.Calls() - before; n != 0 {
				t.Errorf("%d operations reached an offline directory", n)
			}
		})
	}
}

// A process that has too many files open has healthy disks.
func TestTooManyOpenFilesIsNoFailure(t *testing.T) {
	for _, lack := range []error{syscall.EMFILE, syscall.ENFILE} {
		faults, d, _ := watched(t)
		faults.Inject(vfs.FailOp(vfs.OpOpen, "", &fs.PathError{Op: "open", Path: "x", Err: lack}))
		if errs := use(d.fs); !errors.Is(errs["open"], lack) || !errors.Is(errs["create"], lack) {
			t.Errorf("%v", errs)
		}
		if !d.online() {
			t.Errorf("offline: %v", d.cause())
		}
	}
}

func TestOpenFilesOfAnOfflineDirectoryAnswerErrors(t *testing.T) {
	_, d, _ := watched(t)
	f, err := d.fs.OpenFile("/d/t-0/x", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	d.fail(vfs.ErrInjected)
	_, werr := f.WriteAt([]byte("x"), 0)
	_, rerr := f.ReadAt(make([]byte, 1), 0)
	_, zerr := f.Size()
	for name, err := range map[string]error{"write": werr, "read": rerr, "size": zerr, "sync": f.Sync(), "truncate": f.Truncate(0)} {
		if !errors.Is(err, kerr.KafkaStorageError) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestOrdinaryAnswersAreNoFailure(t *testing.T) {
	_, d, _ := watched(t)
	f, err := d.fs.OpenFile("/d/t-0/x", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(make([]byte, 10), 0); err == nil {
		t.Error("read past the end without an error")
	}
	f.Close()
	f.ReadAt(make([]byte, 1), 0)
	for name, err := range map[string]error{
		"open":    func() error { _, err := d.fs.OpenFile("/d/t-0/none", os.O_RDWR, 0); return err }(),
		"stat":    func() error { _, err := d.fs.Stat("/d/none"); return err }(),
		"readdir": func() error { _, err := d.fs.ReadDir("/d/none"); return err }(),
		"remove":  d.fs.Remove("/d/none"),
		"rename":  d.fs.Rename("/d/none", "/d/other"),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.fs.OpenFile("/d/t-0/x", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0); !errors.Is(err, fs.ErrExist) {
		t.Errorf("exclusive create: %v", err)
	}
	if !d.online() {
		t.Errorf("offline because of %v", d.cause())
	}
	if _, err := d.fs.OpenFile("/d/gone-0/x", os.O_RDWR|os.O_CREATE, 0o644); err == nil || d.online() {
		t.Errorf("online although the path to a new file is gone: %v", err)
	}
}

// What is synced in a new partition directory can be reached after a power
// loss, although nobody has synced the log directory.
func TestSyncedFilesAreReachable(t *testing.T) {
	for seed := range uint64(200) {
		mem := vfs.NewMem()
		if err := mem.MkdirAll("/d", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := mem.SyncDir("/"); err != nil {
			t.Fatal(err)
		}
		d := newDirectory("/d", mem, 0, make(chan *directory, 1), slog.New(slog.DiscardHandler))
		if err := d.fs.MkdirAll("/d/t-0", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := vfs.WriteFileAtomic(d.fs, "/d/t-0/x", []byte("abc")); err != nil {
			t.Fatal(err)
		}
		after := mem.Crash(rand.New(rand.NewPCG(seed, 1)))
		if got := get(t, after, "/d/t-0/x"); got != "abc" {
			t.Fatalf("seed %d: %q", seed, got)
		}
	}
}

// The same for names that are synced.
func TestSyncedNamesAreReachable(t *testing.T) {
	for seed := range uint64(200) {
		mem := vfs.NewMem()
		if err := mem.MkdirAll("/d", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := mem.SyncDir("/"); err != nil {
			t.Fatal(err)
		}
		d := newDirectory("/d", mem, 0, make(chan *directory, 1), slog.New(slog.DiscardHandler))
		if err := d.fs.MkdirAll("/d/t-0/x", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := d.fs.SyncDir("/d/t-0"); err != nil {
			t.Fatal(err)
		}
		if after := mem.Crash(rand.New(rand.NewPCG(seed, 1))); !exists(t, after, "/d/t-0/x") {
			t.Fatalf("seed %d: gone", seed)
		}
	}
}

// Ten thousand new partitions cost one fsync of the log directory.
func TestNamesAreSyncedTogether(t *testing.T) {
	faults, d, _ := watched(t)
	syncs := 0
	faults.Inject(func(c vfs.Call) error {
		if c.Op == vfs.OpSyncDir && c.Name == "/d" {
			syncs++
		}
		return nil
	})
	for _, name := range []string{"/d/t-1", "/d/t-2", "/d/t-3"} {
		if err := d.fs.MkdirAll(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		f, err := d.fs.OpenFile("/d/t-0/x", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if syncs != 1 {
		t.Errorf("synced %d times", syncs)
	}
}
