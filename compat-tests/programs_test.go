package compat

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// The clients that are not Go's: each is a program in clients/ that goes
// through all its client can do, reads what franz-go wrote, and leaves topics
// that franz-go reads.

func TestConfluentPython(t *testing.T) {
	python := harness.Fetch(t, "python")
	onTargets(t, func(t *testing.T, b *harness.Broker) {
		runProgram(t, b, exec.Command(python, "-W", "ignore", "clients/confluent_client.py"), harness.MakeRecord)
	})
}

func TestKafkaPython(t *testing.T) {
	python := harness.Fetch(t, "python")
	onTargets(t, func(t *testing.T, b *harness.Broker) {
		runProgram(t, b, exec.Command(python, "-W", "ignore", "clients/kafka_python_client.py"), asKafkaPython)
	})
}

func TestJava3(t *testing.T) {
	jars := harness.Fetch(t, "kafka")
	onTargets(t, func(t *testing.T, b *harness.Broker) { runProgram(t, b, javaClient(t, jars), harness.MakeRecord) })
}

func TestJava4(t *testing.T) {
	jars := harness.Fetch(t, "clients-4")
	onTargets(t, func(t *testing.T, b *harness.Broker) { runProgram(t, b, javaClient(t, jars), harness.MakeRecord) })
}

func javaClient(t *testing.T, jars string) *exec.Cmd {
	t.Helper()
	return javaProgram(t, jars, "JavaClient")()
}

// javaProgram returns what makes commands of a program of clients/.
func javaProgram(t *testing.T, jars, class string) func(args ...string) *exec.Cmd {
	t.Helper()
	classes := javaClasses(t, jars)
	log4j := filepath.Join(harness.Repository(), "scripts", "lib", "log4j.properties")
	return func(args ...string) *exec.Cmd {
		return exec.Command("java", append([]string{"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dgracchus.log.level=WARN",
			"-Dlog4j.configuration=file:" + log4j, "-cp", classes + ":" + jars + "/*", class}, args...)...)
	}
}

// compiled are the folders of what was compiled with some jars. TestMain removes them.
var compiled struct {
	mu      sync.Mutex
	folders map[string]string
}

// javaClasses compiles the programs of clients/, once for all tests of the process.
func javaClasses(t *testing.T, jars string) string {
	t.Helper()
	compiled.mu.Lock()
	defer compiled.mu.Unlock()
	if folder, ok := compiled.folders[jars]; ok {
		return folder
	}
	folder, err := os.MkdirTemp("", "gracchus-clients-")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("clients/*.java")
	if err != nil {
		t.Fatal(err)
	}
	harness.Run(t, 2*time.Minute, exec.Command("javac", append([]string{"-J-XX:TieredStopAtLevel=1", "-proc:none", "-cp", jars + "/*", "-d", folder}, sources...)...))
	if compiled.folders == nil {
		compiled.folders = map[string]string{}
	}
	compiled.folders[jars] = folder
	return folder
}

func removeCompiled() {
	for _, folder := range compiled.folders {
		os.RemoveAll(folder)
	}
}

func runProgram(t *testing.T, b *harness.Broker, cmd *exec.Cmd, written func(i int) harness.Record) {
	t.Helper()
	const prefix = "clients"
	createTopic(t, b, prefix+"-go", partitions, nil)
	// Every tenth of it with another codec.
	for i := range 10 {
		client := franz(t, b, kgo.ProducerBatchCompression(franzCodecs[codecs[i%len(codecs)]]))
		produce(t, client, prefix+"-go", partitions, i*count/10, (i+1)*count/10)
		client.Close()
	}
	produceTransactions(t, b, prefix+"-go-transactions")
	leaveOpen(t, b, prefix+"-go-transactions", partitions-1)
	cmd.Args = append(cmd.Args, b.Addr, prefix)
	said := harness.Run(t, 3*time.Minute, cmd)
	if !strings.Contains(said, "ok delete a topic") {
		t.Fatalf("the program did not come to its end:\n%s", said)
	}
	t.Log(said)
	if strings.Contains(said, "ok commit and abort transactions") {
		checkCommitted(t, b, prefix+"-transactions")
	}
	for _, codec := range codecs {
		for _, kind := range []string{"plain", "idempotent"} {
			topic := prefix + "-" + codec + "-" + kind
			if topic == prefix+"-none-plain" {
				continue // the program deleted records of it
			}
			checkTopicIs(t, b, topic, partitions, count, written)
		}
	}
}

// asKafkaPython is record i as kafka-python can write it: no null in headers,
// no record with neither key nor value.
func asKafkaPython(i int) harness.Record {
	r := harness.MakeRecord(i)
	if r.Key == nil && r.Value == nil {
		r.Key = []byte{}
	}
	r.Headers = slices.DeleteFunc(r.Headers, func(h harness.Header) bool { return h.Value == nil })
	return r
}
