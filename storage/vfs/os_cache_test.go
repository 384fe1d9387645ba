package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/internal/nowait"
)

// TestWritesAreOrdinaryWhileTheDiskIsSlow: one short call that was held up must be the last
// for a while.
func TestWritesAreOrdinaryWhileTheDiskIsSlow(t *testing.T) {
	s := newWriteSpeed()
	at := 5 * time.Second
	s.took(at, at+heldUp-1)
	if !s.brisk(at + heldUp) {
		t.Errorf("wary after a write of %v", heldUp-1)
	}
	end := at + heldUp
	s.took(at, end)
	if s.brisk(end) || s.brisk(end+wariness-1) {
		t.Errorf("not wary after a write of %v", heldUp)
	}
	if !s.brisk(end + wariness) {
		t.Errorf("still wary after %v", wariness)
	}
}

// TestWriteBothWays writes while writes are brisk, while they are not, and more than one
// call takes, over each other.
func TestWriteBothWays(t *testing.T) {
	f := mustOpen(t, OS(), filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE).(*osFile)
	defer f.Close()
	check := func(size int, fill byte) {
		t.Helper()
		b := make([]byte, size)
		for i := range b {
			b[i] = fill + byte(i%7)
		}
		if n, err := f.WriteAt(b, 3); n != size || err != nil {
			t.Fatalf("%d bytes: %d, %v", size, n, err)
		}
		got := make([]byte, size)
		if n, err := f.ReadAt(got, 3); n != size || err != nil || string(got) != string(b) {
			t.Fatalf("%d bytes: read %d, %v", size, n, err)
		}
	}
	for _, size := range []int{1, 4096, maxCachedWrite, maxCachedWrite + 1} {
		f.speed.heldUpUntil.Store(0)
		check(size, 'a')
		f.speed.took(0, f.speed.now()+heldUp)
		check(size, 'b')
	}
}

// TestShortWayToWrite: the contract above would hold without it.
func TestShortWayToWrite(t *testing.T) {
	if !nowait.Supported {
		t.Skip("there is none on this system")
	}
	f := mustOpen(t, OS(), filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE).(*osFile)
	defer f.Close()
	b := make([]byte, 100)
	if n, err := f.cached(nowait.Pwrite, b, 0); n != len(b) || err != nil {
		t.Fatal(n, err)
	}
}

// TestWriteFails: an error of the short way is told like one of the other.
func TestWriteFails(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	f := mustOpen(t, OS(), "/dev/full", os.O_RDWR)
	defer f.Close()
	var path *fs.PathError
	if n, err := f.WriteAt([]byte("x"), 0); n != 0 || !errors.As(err, &path) || path.Err != syscall.ENOSPC {
		t.Errorf("a full disk: %d, %v", n, err)
	}
}
