package zkserver_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gracchus-mq/gracchus/zkmeta/zkserver"
)

// smallDisk mounts a file system of so many bytes, which takes root.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes))
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("NOT TESTED: a disk that is full, for want of the right to mount one: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// On a full disk the store commits what fits into the blocks it has; a commit that
// does not changes nothing; and after room was made it goes on.
func TestBoltOnFullDisk(t *testing.T) {
	dir := smallDisk(t, 8<<20)
	path := filepath.Join(dir, "zk")
	s := openBolt(t, path)
	defer func() { s.Close() }()
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 16<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	want := contents(t, s)
	put := func(i, n int) error {
		key, value := fmt.Sprintf("/node/%d", i), strings.Repeat("v", n)
		err := s.Commit([]zkserver.Change{{Bucket: zkserver.BucketNodes, Key: key, Value: []byte(value)}})
		if err == nil {
			want[fmt.Sprintf("%d %s", zkserver.BucketNodes, key)] = value
		}
		return err
	}
	refused := 0
	for i := range 200 {
		if err := put(i, 50_000); errors.Is(err, zkserver.ErrNoRoom) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if refused == 0 || refused > 150 {
		t.Errorf("%d of 200 commits were refused", refused)
	}
	if s.HasRoom() {
		t.Error("a full disk has room")
	}
	if got := contents(t, s); !maps.Equal(got, want) {
		t.Errorf("%d entries are there, %d were committed", len(got), len(want))
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openBolt(t, path)
		if got := contents(t, s); !maps.Equal(got, want) {
			t.Errorf("%d entries are there after opening it again, %d were committed", len(got), len(want))
		}
		if err := os.Remove(filler); err == nil && !s.HasRoom() {
			t.Error("no room after some was made")
		}
		for i := range 20 {
			if err := put(i, 51_000); err != nil && !errors.Is(err, zkserver.ErrNoRoom) {
				t.Fatal(err)
			}
		}
	}
	if err := put(1000, 500_000); err != nil {
		t.Errorf("a commit after room was made: %v", err)
	}
	if got := contents(t, s); !maps.Equal(got, want) {
		t.Errorf("%d entries are there, %d were committed", len(got), len(want))
	}
}
