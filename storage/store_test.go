package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

func openDirs(fsys vfs.FS, dirs ...string) (*Store, error) {
	return Open(Config{Storage: config.Storage{Dirs: dirs}}, fsys, commitlog.NewFileCache(50), nil)
}

func mustOpen(t *testing.T, fsys vfs.FS, dirs ...string) *Store {
	t.Helper()
	s, err := openDirs(fsys, dirs...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func stop(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// put writes a file and its directories.
func put(t *testing.T, fsys vfs.FS, name, content string) {
	t.Helper()
	if err := fsys.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := vfs.WriteFileAtomic(fsys, name, []byte(content)); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, fsys vfs.FS, name string) string {
	t.Helper()
	data, err := vfs.ReadFile(fsys, name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func exists(t *testing.T, fsys vfs.FS, name string) bool {
	t.Helper()
	_, err := fsys.Stat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func TestNewDirectoriesAreIdentified(t *testing.T) {
	mem := vfs.NewMem()
	s := mustOpen(t, mem, "/data/a", "/data/b")
	if m := s.Meta(); m != noMeta {
		t.Errorf("new directories say %+v", m)
	}
	if err := s.Identify(3, "k8Do4LTRRAWNP-z6Fw9KPA"); err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	for _, dir := range []string{"/data/a/", "/data/b/"} {
		if text := get(t, mem, dir+metaFile); !strings.Contains(text, "broker.id=3\nversion=0\ncluster.id=k8Do4LTRRAWNP-z6Fw9KPA\n") {
			t.Errorf("%s:\n%s", dir, text)
		}
	}
	s = mustOpen(t, mem, "/data/a", "/data/b")
	defer stop(t, s)
	if m := s.Meta(); m != (Meta{BrokerID: 3, ClusterID: "k8Do4LTRRAWNP-z6Fw9KPA"}) {
		t.Errorf("the second time they say %+v", m)
	}
}

func TestIdentifyKeepsWhatItDoesNotOwn(t *testing.T) {
	mem := vfs.NewMem()
	whole := "#\n#then\nversion=0\nbroker.id=1\ncluster.id=c\ndirectory.id=d1\n"
	put(t, mem, "/a/"+metaFile, whole)
	put(t, mem, "/b/"+metaFile, "broker.id=1\ndirectory.id=d2\n") // as Kafka 0.10.0 wrote it, and an id
	s := mustOpen(t, mem, "/a", "/b")
	defer stop(t, s)
	if err := s.Identify(1, "c"); err != nil {
		t.Fatal(err)
	}
	if got := get(t, mem, "/a/"+metaFile); got != whole {
		t.Errorf("rewritten without need:\n%s", got)
	}
	if m, err := parseMeta([]byte(get(t, mem, "/b/"+metaFile))); err != nil || m != (Meta{1, "c", "d2"}) {
		t.Errorf("completed to %+v, %v", m, err)
	}
}

func TestIdentifyRefusesForeignDirectories(t *testing.T) {
	mem := vfs.NewMem()
	put(t, mem, "/a/"+metaFile, "broker.id=1\ncluster.id=ours\n")
	put(t, mem, "/a/"+cleanShutdownFile, "")
	s := mustOpen(t, mem, "/a")
	defer stop(t, s)
	for _, c := range []struct {
		broker  int32
		cluster string
		says    []string
	}{
		{2, "ours", []string{"/a", "broker 1", "broker 2", "broker.id"}},
		{1, "theirs", []string{"/a", "cluster ours", "cluster theirs", "zookeeper.connect"}},
	} {
		err := s.Identify(c.broker, c.cluster)
		if err == nil {
			t.Errorf("accepted as broker %d of %s", c.broker, c.cluster)
			continue
		}
		for _, part := range c.says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not say %q", err, part)
			}
		}
	}
	if !exists(t, mem, "/a/"+cleanShutdownFile) {
		t.Error("the clean-shutdown marker of a foreign directory is gone")
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		a, b string
		says string
	}{
		"two brokers":     {"broker.id=1\n", "broker.id=2\n", "different brokers"},
		"two clusters":    {"cluster.id=x\n", "cluster.id=y\n", "different clusters"},
		"a copied disk":   {"directory.id=x\n", "directory.id=x\n", "copy"},
		"KRaft":           {"version=1\nnode.id=1\ncluster.id=x\n", "", "KRaft"},
		"no properties":   {"broker.id=\\u0", "", "properties"},
		"a bad broker id": {"broker.id=x\n", "", "broker id"},
	} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMem()
			put(t, mem, "/a/"+metaFile, c.a)
			put(t, mem, "/b/"+metaFile, c.b)
			s, err := openDirs(mem, "/a", "/b")
			if err == nil {
				stop(t, s)
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error does not help: %v", err)
			}
			for _, dir := range []string{"/a/", "/b/"} {
				l, err := mem.Lock(dir + lockFile)
				if err != nil {
					t.Errorf("still locked: %v", err)
				} else {
					l.Close()
				}
			}
		})
	}
	if _, err := openDirs(vfs.NewMem()); err == nil {
		t.Error("accepted no directory")
	}
	if _, err := openDirs(vfs.NewMem(), "/a", "/b/../a"); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("accepted one directory twice: %v", err)
	}
}

func TestOpenLeavesOutWhatFails(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpMkdir, vfs.OpStat, vfs.OpSyncDir, vfs.OpLock} {
		t.Run(string(op), func(t *testing.T) {
			faults := vfs.NewFaults(vfs.NewMem())
			name := "/b"
			if op == vfs.OpSyncDir {
				name = "/" // where the new directory's name is
			}
			broken := "/b"
			faults.Inject(func(c vfs.Call) error {
				if c.Op == op && (c.Name == name || c.Name == "/b/"+lockFile) {
					return vfs.ErrInjected
				}
				return nil
			})
			dirs := []string{"/x/a", "/b"}
			if op == vfs.OpSyncDir {
				put(t, faults, "/x/a/file", "") // so that only /b needs the root synced
			}
			s := mustOpen(t, faults, dirs...)
			defer stop(t, s)
			for _, d := range s.Dirs() {
				if failed := d.Path == broken; failed != errors.Is(d.Err, kerr.KafkaStorageError) {
					t.Errorf("%s: %v", d.Path, d.Err)
				}
			}
			if err := s.Identify(1, "c"); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("all", func(t *testing.T) {
		faults := vfs.NewFaults(vfs.NewMem())
		faults.Inject(vfs.FailOp(vfs.OpMkdir, "/", vfs.ErrInjected))
		if _, err := openDirs(faults, "/a", "/b"); !errors.Is(err, kerr.KafkaStorageError) || !errors.Is(err, vfs.ErrInjected) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a file in its place", func(t *testing.T) {
		mem := vfs.NewMem()
		put(t, mem, "/a", "")
		if _, err := openDirs(mem, "/a"); err == nil || !strings.Contains(err.Error(), "not a directory") {
			t.Errorf("got %v", err)
		}
	})
}

func TestState(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	s := mustOpen(t, vfs.OS(), a, b)
	defer stop(t, s)
	const name = "gracchus-zookeeper-session"
	if data, err := s.LoadState(name); data != nil || err != nil {
		t.Errorf("nothing was saved, and there is %q, %v", data, err)
	}
	for _, want := range []string{"secret", "", "another"} {
		if err := s.SaveState(name, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if data, err := s.LoadState(name); string(data) != want || err != nil {
			t.Errorf("saved %q, loaded %q, %v", want, data, err)
		}
		info, err := os.Stat(filepath.Join(a, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
	if err := s.SaveState(name, nil); err != nil {
		t.Error(err)
	}
	if data, err := s.LoadState(name); data != nil || err != nil {
		t.Errorf("after removal there is %q, %v", data, err)
	}
	for _, bad := range []string{"", ".", "..", ".lock", "a/b", "../x"} {
		if err := s.SaveState(bad, []byte("x")); err == nil {
			t.Errorf("accepted %q as a name", bad)
		}
	}
	// A leftover of a crash must not lend its mode to the secret.
	if err := os.WriteFile(filepath.Join(a, name+".tmp"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveState(name, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(a, name)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
