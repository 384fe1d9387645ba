package storage

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// lockHelperEnv makes this test binary lock a directory in place of running
// tests: "ours:DIR" opens a Store, "posix:DIR" takes the lock that a JVM takes.
const lockHelperEnv = "GRACCHUS_TEST_LOCK"

// lockHelper says "locked" or why it could not lock, and holds the lock until
// its input ends.
func lockHelper(spec string) {
	kind, dir, _ := strings.Cut(spec, ":")
	if err := lockAs(kind, dir); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("locked")
	io.Copy(io.Discard, os.Stdin)
}

func lockAs(kind, dir string) error {
	if kind == "ours" {
		_, err := Open(Config{Storage: config.Storage{Dirs: []string{dir}}}, vfs.OS(), commitlog.NewFileCache(10), nil)
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
}

// lockElsewhere has another process lock dir; it returns what that one says and
// a function that ends it.
func lockElsewhere(t *testing.T, kind, dir string) (answer string, end func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), lockHelperEnv+"="+kind+":"+dir, "GORACE=atexit_sleep_ms=0")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the other process said %q, %v", line, err)
	}
	return strings.TrimSpace(line), func() {
		in.Close()
		cmd.Wait()
	}
}

func TestLockAgainstAnotherProcess(t *testing.T) {
	for _, kind := range []string{"ours", "posix"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			answer, end := lockElsewhere(t, kind, dir)
			if answer != "locked" {
				t.Fatalf("the other process could not lock: %s", answer)
			}
			s, err := openDirs(vfs.OS(), dir)
			if err == nil {
				stop(t, s)
				t.Fatal("opened a directory that another process has locked")
			}
			if !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "in use") {
				t.Errorf("the error does not help: %v", err)
			}
			end()
			s, err = openDirs(vfs.OS(), dir)
			if err != nil {
				t.Fatalf("after the other process has ended: %v", err)
			}
			// A lock of the other kind would be lost here: by closing any
			// descriptor of the file.
			if f, err := os.Open(filepath.Join(dir, lockFile)); err != nil {
				t.Fatal(err)
			} else {
				f.Close()
			}
			answer, end = lockElsewhere(t, kind, dir)
			end()
			if answer == "locked" {
				t.Error("another process locked a directory that is in use here")
			}
			stop(t, s)
			answer, end = lockElsewhere(t, kind, dir)
			end()
			if answer != "locked" {
				t.Errorf("after Stop the directory is still locked: %s", answer)
			}
		})
	}
}

// One locked directory refuses the start and leaves the others free.
func TestLockConflictReleasesTheRest(t *testing.T) {
	mem := vfs.NewMem()
	holder, err := openDirs(mem, "/b")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := openDirs(mem, "/a", "/b", "/c"); err == nil {
		stop(t, s)
		t.Fatal("opened a directory that is in use")
	}
	other, err := openDirs(mem, "/a", "/c")
	if err != nil {
		t.Fatalf("the other directories are still locked: %v", err)
	}
	stop(t, other)
	stop(t, holder)
}
