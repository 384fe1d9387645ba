package compat

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

func TestVersion(t *testing.T) {
	said := harness.Run(t, 10*time.Second, exec.Command(harness.Binary(t), "version"))
	if !regexp.MustCompile(`^gracchus .*compatible with Kafka 3\.9\n$`).MatchString(said) {
		t.Errorf("version says %q", said)
	}
}

// What is wrong with the settings is said in one line, and nothing is started.
func TestWrongSettings(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "server.properties")
	if err := os.WriteFile(file, []byte("broker.id=1\nlog.dirs="+dir+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"start", file}, "zookeeper.connect is missing"},
		{[]string{"start", "--override", "log.segment.bytes=1"}, "a whole number from 14"},
		{[]string{"start", "--override", "listeners=SSL://:9093"}, "SSL is not supported yet"},
		{[]string{"start", "--override", "authorizer.class.name=x"}, "authorizer.class.name"},
		{[]string{"start", filepath.Join(dir, "nowhere")}, "no such file"},
		{[]string{"stop"}, "unknown command"},
	} {
		cmd := exec.Command(harness.Binary(t), c.args...)
		cmd.Dir = t.TempDir()
		said, err := cmd.CombinedOutput()
		if err == nil || strings.Count(string(said), "\n") != 1 || !strings.Contains(string(said), c.says) {
			t.Errorf("%v: %v, it says %q instead of one line with %q", c.args, err, said, c.says)
		}
		if left, _ := os.ReadDir(cmd.Dir); len(left) > 0 {
			t.Errorf("%v left %v", c.args, left)
		}
	}
}

func TestNoticesAtStart(t *testing.T) {
	b := harness.StartGracchus(t, harness.Options{Properties: []string{
		"listeners=PLAINTEXT://:0", "advertised.listeners=PLAINTEXT://localhost:0", "num.io.threads=4", "no.such.thing=1"}})
	for _, once := range []string{`no effect yet" names=num\.io\.threads`, `names=no\.such\.thing`, `open to other machines.*localhost:\d+.*set advertised\.listeners`} {
		if n := len(regexp.MustCompile(once).FindAllString(b.Output(), -1)); n != 1 {
			t.Errorf("%q is said %d times:\n%s", once, n, b.Output())
		}
	}
}

// Clients are told the addresses of the listener they come by.
func TestListeners(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		t.Run(host, func(t *testing.T) {
			b := harness.StartGracchus(t, harness.Options{Properties: []string{
				"listeners=PLAINTEXT://" + host + ":0,INSIDE://127.0.0.1:0,CONTROL://127.0.0.1:0",
				"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT,CONTROL:PLAINTEXT",
				"inter.broker.listener.name=INSIDE", "control.plane.listener.name=CONTROL",
				"advertised.listeners=PLAINTEXT://" + host + ":0,INSIDE://localhost:0,CONTROL://127.0.0.1:0"}})
			inside := b.WaitFor(`ready.*INSIDE://([^\s",]+)`, time.Second)[1]
			for address, host := range map[string]string{b.Addr: strings.Trim(host, "[]"), inside: "localhost"} {
				client, err := kgo.NewClient(kgo.SeedBrokers(address))
				if err != nil {
					t.Fatal(err)
				}
				brokers, err := kadm.NewClient(client).ListBrokers(within(t, 20*time.Second))
				client.Close()
				if err != nil || len(brokers) != 1 {
					t.Fatalf("%s: %v %v", address, brokers, err)
				}
				port := address[strings.LastIndex(address, ":")+1:]
				if brokers[0].Host != host || strconv.Itoa(int(brokers[0].Port)) != port {
					t.Errorf("who comes by %s is sent to %s:%d", address, brokers[0].Host, brokers[0].Port)
				}
			}
			createTopic(t, b, "over-listeners", 1, nil)
			client := franz(t, b)
			produce(t, client, "over-listeners", 1, 0, 10)
			checkTopic(t, b, "over-listeners", 1, 10)
		})
	}
}

// SIGTERM and SIGINT stop cleanly: the next start has nothing to recover.
func TestStopSignals(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			b := harness.StartGracchus(t, harness.Options{Dirs: []string{dir}})
			createTopic(t, b, "kept", 1, nil)
			client := franz(t, b)
			produce(t, client, "kept", 1, 0, 50)
			if err := b.Signal(signal, 20*time.Second); err != nil {
				t.Errorf("it ended with %v", err)
			}
			if _, err := os.Stat(filepath.Join(dir, ".kafka_cleanshutdown")); err != nil {
				t.Error(err)
			}
			if index, err := os.Stat(filepath.Join(dir, "kept-0", "00000000000000000000.index")); err != nil || index.Size() > 4096 {
				t.Errorf("the index was not trimmed: %v", err)
			}
			b = harness.StartGracchus(t, harness.Options{Dirs: []string{dir}})
			checkTopic(t, b, "kept", 1, 50)
		})
	}
}

// A broker that is told to stop before it is ready has not failed.
func TestStopWhileStarting(t *testing.T) {
	var said strings.Builder
	cmd := exec.Command(harness.Binary(t), "start", "--override", "zookeeper.connect=127.0.0.1:1", "--override", "listeners=PLAINTEXT://127.0.0.1:0")
	cmd.Dir, cmd.Stderr = t.TempDir(), &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for { // until it has taken its directory, and knocks at the door of ZooKeeper
		if _, err := os.Stat(filepath.Join(cmd.Dir, "gracchus-data", ".lock")); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil || !strings.Contains(said.String(), "stopped before it was ready") {
		t.Errorf("it ended with %v and said %s", err, said.String())
	}
}

// After kill -9 the next start does not wait for the session of the dead
// process.
func TestStartAfterKill(t *testing.T) {
	for _, target := range harness.Targets(t) {
		t.Run(target.Name, func(t *testing.T) {
			o := harness.Options{Dirs: []string{filepath.Join(t.TempDir(), "data")}, Properties: []string{"zookeeper.session.timeout.ms=30000"}}
			b := target.Start(t, o)
			o = b.Options
			createTopic(t, b, "kept", 1, nil)
			client := franz(t, b)
			produce(t, client, "kept", 1, 0, 50)
			b.Kill()
			begin := time.Now()
			b = target.Start(t, o)
			took := time.Since(begin)
			t.Logf("the start after kill -9 took %v", took)
			if took > 10*time.Second {
				t.Errorf("the start took %v", took)
			}
			checkTopic(t, b, "kept", 1, 50)
		})
	}
}
