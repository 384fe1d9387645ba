package storage

import (
	"os"
	"strings"
	"testing"

	"github.com/gracchus-mq/gracchus/config"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// kafkaDirs lays out the directories that Kafka left: its own text files, and
// logs of our making with the ends that Kafka's had.
func kafkaDirs(t *testing.T, state string) *vfs.Mem {
	t.Helper()
	mem := vfs.NewMem()
	for _, dir := range []string{"d1", "d2"} {
		from := "testdata/kafka-3.9.2/" + state + "/" + dir
		s := loaded(t, mem, "/"+dir)
		// Kafka had written the high watermarks last: they are the ends.
		ends, err := parseCheckpoint([]byte(readFixture(t, from+"/"+highWatermarkFile)))
		if err != nil {
			t.Fatal(err)
		}
		for name, end := range ends {
			log := mustCreate(t, s, name)
			fill(t, log, int(end)/2)
		}
		stop(t, s)
		if err := mem.Remove("/" + dir + "/" + cleanShutdownFile); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(from)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			content := readFixture(t, from+"/"+e.Name())
			switch e.Name() {
			case "kafka_cleanshutdown":
				put(t, mem, "/"+dir+"/"+cleanShutdownFile, content)
			case "subdirectories":
				for name := range strings.Lines(content) {
					if err := mem.MkdirAll("/"+dir+"/"+strings.TrimSpace(name), 0o755); err != nil {
						t.Fatal(err)
					}
				}
			default:
				put(t, mem, "/"+dir+"/"+e.Name(), content)
			}
		}
	}
	return mem
}

func readFixture(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A Store takes over what Kafka left, and hands back the same.
func TestTakeOverFromKafka(t *testing.T) {
	for _, state := range []string{"clean", "killed"} {
		t.Run(state, func(t *testing.T) {
			mem := kafkaDirs(t, state)
			before := map[string]string{}
			var files []string
			for _, dir := range []string{"/d1/", "/d2/"} {
				for _, file := range append(checkpointFiles[:], metaFile) {
					files = append(files, dir+file)
					before[dir+file] = get(t, mem, dir+file)
				}
			}
			s, err := Open(Config{Storage: config.Storage{Dirs: []string{"/d1", "/d2"}}}, mem, commitlog.NewFileCache(20), nil)
			if err != nil {
				t.Fatal(err)
			}
			if m := s.Meta(); m != (Meta{BrokerID: 1, ClusterID: "k8Do4LTRRAWNP-z6Fw9KPA"}) {
				t.Errorf("identity %+v", m)
			}
			if err := s.Identify(1, "k8Do4LTRRAWNP-z6Fw9KPA"); err != nil {
				t.Fatal(err)
			}
			if err := load(s); err != nil {
				t.Fatal(err)
			}
			if s.dirs[0].clean != (state == "clean") || s.dirs[0].removals.count() != 1 {
				t.Errorf("clean %v, %d to be removed", s.dirs[0].clean, s.dirs[0].removals.count())
			}
			starts := map[string]int64{"orders.v1-0": 37, "orders.v1-2": 51}
			n := 0
			for name, log := range s.Logs() {
				n++
				if log.StartOffset() != starts[name.String()] || log.HighWatermark() != log.EndOffset() {
					t.Errorf("%v is [%d, %d), high watermark %d", name, log.StartOffset(), log.EndOffset(), log.HighWatermark())
				}
			}
			if n != 5 {
				t.Errorf("%d logs", n)
			}
			stop(t, s)
			for _, file := range files {
				want := before[file]
				if strings.HasSuffix(file, recoveryPointFile) {
					// Everything is synced now, and these logs end at their high watermarks.
					want = before[strings.Replace(file, recoveryPointFile, highWatermarkFile, 1)]
				}
				if got := get(t, mem, file); sorted([]byte(got)) != sorted([]byte(want)) {
					t.Errorf("%s is\n%s, and was\n%s", file, got, want)
				}
			}
			for _, dir := range []string{"/d1/", "/d2/"} {
				if got := get(t, mem, dir+cleanShutdownFile); got != readFixture(t, "testdata/kafka-3.9.2/clean/d1/kafka_cleanshutdown") {
					t.Errorf("marker %q", got)
				}
			}
		})
	}
}
