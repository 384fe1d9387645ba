package compat

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// TestFullDisk fills a disk of 96 MiB. Producers get the storage error, consumers
// read, the broker stops cleanly and starts, also after kill -9; once records are
// deleted, or a topic is, producing goes on without a restart. In the end every
// acknowledged record is there once.
func TestFullDisk(t *testing.T) {
	for _, target := range harness.Targets(t) {
		if target.Name == "kafka" { // which ends when its last directory is full
			continue
		}
		t.Run(target.Name, func(t *testing.T) {
			disk := smallDisk(t, 96)
			f := &filling{t: t, random: rand.NewChaCha8([32]byte{1})}
			o := harness.Options{Dirs: []string{filepath.Join(disk, "data")}, Properties: []string{
				fmt.Sprintf("listeners=PLAINTEXT://127.0.0.1:%d", harness.FreePort(t)),
				"log.segment.bytes=1048576", "log.retention.check.interval.ms=500"}}
			f.broker = target.Start(t, o)
			o = f.broker.Options
			f.connect()
			for _, topic := range []string{"first", "second", "kept"} {
				createTopic(t, f.broker, topic, 1, nil)
			}
			f.produceUntilFull("first", 20<<20)
			f.produceUntilFull("second", 20<<20)
			f.produceUntilFull("kept", 1<<30)
			f.checkKept()

			f.broker.StopCleanly(t)
			if _, err := os.Stat(filepath.Join(o.Dirs[0], ".kafka_cleanshutdown")); err != nil {
				t.Errorf("the stop was not clean: %v", err)
			}
			f.broker = target.Start(t, o)
			f.connect()
			f.checkKept()
			f.produceUntilFull("kept", 1<<30)

			f.deleteRecords("first")
			f.waitForRoom()
			f.produceUntilFull("kept", 1<<30)

			f.broker.Kill()
			f.broker = target.Start(t, o)
			f.connect()
			f.checkKept()
			f.produceUntilFull("kept", 1<<30)
			if _, err := kadm.NewClient(f.client).DeleteTopics(within(t, 30*time.Second), "second", "first"); err != nil {
				t.Errorf("delete topics: %v", err)
			}
			f.waitForRoom()
			f.checkKept()
			f.broker.StopCleanly(t)
			for _, line := range []string{"log directory is full", "log directory has room again"} {
				if said := strings.Count(f.broker.Output(), line); said != 1 {
					t.Errorf("it is said %d times: %s", said, line)
				}
			}
		})
	}
}

// smallDisk mounts a file system of so many MiB, which takes root.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	said, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", size), "tmpfs", dir).CombinedOutput()
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("a disk that is full, for want of the right to mount one: %s", said)
	}
	if err != nil {
		t.Fatalf("mount: %v: %s", err, said)
	}
	t.Cleanup(func() {
		if said, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, said)
		}
	})
	return dir
}

// filling fills a disk with records and remembers those of one topic.
type filling struct {
	t      *testing.T
	random *rand.ChaCha8
	broker *harness.Broker
	client *kgo.Client
	kept   [][]byte
}

func (f *filling) connect() {
	f.client = franz(f.t, f.broker, kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.RecordRetries(0), kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()))
}

// produce writes one record of 100 kB.
func (f *filling) produce(topic string) error {
	value := make([]byte, 100_000)
	f.random.Read(value)
	err := f.client.ProduceSync(within(f.t, 30*time.Second), &kgo.Record{Topic: topic, Value: value}).FirstErr()
	if err == nil && topic == "kept" {
		f.kept = append(f.kept, value)
	}
	return err
}

// produceUntilFull stops after so many bytes, or when the disk is full.
func (f *filling) produceUntilFull(topic string, bytes int) {
	f.t.Helper()
	for written := 0; written < bytes; written += 100_000 {
		if err := f.produce(topic); errors.Is(err, kerr.KafkaStorageError) {
			return
		} else if err != nil {
			f.t.Fatalf("produce to %s: %v", topic, err)
		}
	}
}

func (f *filling) checkKept() {
	f.t.Helper()
	for i, r := range read(f.t, f.broker, "kept", 1, 0, len(f.kept))[0] {
		if r.Offset != int64(i) || !bytes.Equal(r.Value, f.kept[i]) {
			f.t.Fatalf("record %d, at offset %d, is another one", i, r.Offset)
		}
	}
}

func (f *filling) deleteRecords(topic string) {
	f.t.Helper()
	admin := kadm.NewClient(f.client)
	ends, err := admin.ListEndOffsets(within(f.t, 30*time.Second), topic)
	if err == nil {
		_, err = admin.DeleteRecords(within(f.t, 30*time.Second), ends.Offsets())
	}
	if err != nil {
		f.t.Fatalf("delete records: %v", err)
	}
}

func (f *filling) waitForRoom() {
	f.t.Helper()
	begun := time.Now()
	waitUntil(f.t, "producing goes on", func() bool { return f.produce("kept") == nil })
	f.t.Logf("%d records; producing went on %v after the deletion", len(f.kept), time.Since(begun).Round(10*time.Millisecond))
}
