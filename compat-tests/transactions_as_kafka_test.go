package compat

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// TestTransactionsAsKafka has a Kafka 3.9.2 and us live through the same transactions:
// each answers the same to every step, and to all that Kafka's TransactionsCommand asks.
// When both have stopped, their files are the same, by Kafka's DumpLogSegments and, where
// there are no times in them, to the byte. SCRIPTED_STEPS and SCRIPTED_SEED choose another
// script.
func TestTransactionsAsKafka(t *testing.T) {
	t.Parallel()
	o := harness.Options{Properties: []string{
		"offsets.topic.num.partitions=1", "transaction.state.log.num.partitions=1", "transaction.abort.timed.out.transaction.cleanup.interval.ms=200",
		"transaction.partition.verification.enable=false", // or none would hang
	}}
	kafka := o
	kafka.ZooKeeper = harness.ZooKeeper(t)
	brokers := [2]*harness.Broker{harness.StartKafka(t, kafka), startTarget(t, harness.Targets(t)[0], o)}
	steps, seed := harness.FromEnvironment(t, "SCRIPTED_STEPS", 120), harness.FromEnvironment(t, "SCRIPTED_SEED", 1)
	var said [2][]string
	if !t.Run("script", func(t *testing.T) {
		for i, b := range brokers {
			t.Run([]string{"Kafka", "Gracchus"}[i], func(t *testing.T) {
				t.Parallel()
				said[i] = runScript(t, b, uint64(seed), steps)
			})
		}
	}) {
		t.FailNow()
	}
	compareLines(t, fmt.Sprintf("script %d of %d steps", seed, steps), said[1], said[0])
	t.Logf("%d lines of answers", len(said[0]))
	tools := startTools(t)
	compareCommands(t, tools, brokers)
	tools.end() // the clients of TransactionsCommand live on, and complain of brokers that have ended
	for _, b := range brokers {
		b.StopCleanly(t)
	}
	compareFiles(t, startTools(t), brokers)
}

var (
	fileTimes  = regexp.MustCompile(`(CreateTime|[tT]imestamp"?)(: ?|=)"?1\d{12}`)
	checksums  = regexp.MustCompile(`crc: \d+`)
	inAnyOrder = regexp.MustCompile(`partitions=\[[^]]*`)
)

// firstTimestamp begins the times of the script's records.
var firstTimestamp = strconv.Itoa(harness.FirstTimestamp)[:9]

// dump is what Kafka's DumpLogSegments says of a file, without the times of this run, and
// with what Kafka has in the order of its hashes sorted.
func dump(tools *tools, file string) []string {
	args := []string{"--deep-iteration", "--print-data-log", "--files", file}
	switch topic := filepath.Base(filepath.Dir(file)); {
	case strings.HasPrefix(topic, "__transaction_state"):
		args = append(args, "--transaction-log-decoder")
	case strings.HasPrefix(topic, "__consumer_offsets"):
		args = append(args, "--offsets-decoder")
	}
	lines := strings.Split(strings.ReplaceAll(tools.run("kafka.tools.DumpLogSegments", args...), file, "FILE"), "\n")
	for i, l := range lines {
		if !strings.Contains(l, firstTimestamp) {
			if timeless := fileTimes.ReplaceAllString(l, "$1: TIME"); timeless != l {
				lines[i] = checksums.ReplaceAllString(timeless, "crc: OF A TIME")
			}
		}
		lines[i] = inAnyOrder.ReplaceAllStringFunc(lines[i], func(list string) string {
			partitions := strings.Split(strings.TrimPrefix(list, "partitions=["), ",")
			slices.Sort(partitions)
			return "partitions=[" + strings.Join(partitions, ",")
		})
	}
	if filepath.Ext(file) == ".snapshot" {
		slices.Sort(lines)
	}
	return lines
}

// compareFiles compares the files of transactions, of the first partitions of each topic.
func compareFiles(t *testing.T, tools *tools, brokers [2]*harness.Broker) {
	t.Helper()
	var names [2][]string
	for i, b := range brokers {
		for _, topic := range []string{scriptedTopic + "-*", "__transaction_state-0", "__consumer_offsets-0"} {
			for _, pattern := range []string{"*.log", "*.snapshot", "*.txnindex"} {
				files, err := filepath.Glob(filepath.Join(b.Options.Dirs[0], topic, pattern))
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range files {
					name, err := filepath.Rel(b.Options.Dirs[0], f)
					if err != nil {
						t.Fatal(err)
					}
					names[i] = append(names[i], name)
				}
			}
		}
		slices.Sort(names[i])
	}
	compareLines(t, "the names of files", names[1], names[0])
	kinds := map[string]int{}
	for _, name := range names[0] {
		if !slices.Contains(names[1], name) {
			continue
		}
		kinds[filepath.Ext(name)]++
		var dumped [2][]string
		var raw [2][]byte
		for i, b := range brokers {
			file := filepath.Join(b.Options.Dirs[0], name)
			var err error
			if raw[i], err = os.ReadFile(file); err != nil {
				t.Fatal(err)
			}
			dumped[i] = dump(tools, file)
		}
		compareLines(t, name, dumped[1], dumped[0])
		if filepath.Ext(name) == ".txnindex" && !bytes.Equal(raw[0], raw[1]) {
			t.Errorf("%s is\n%x, and Kafka's\n%x", name, raw[1], raw[0])
		}
		t.Logf("%s\n\t%.1500s", name, strings.Join(dumped[0], "\n\t"))
	}
	for _, kind := range []string{".log", ".snapshot", ".txnindex"} {
		if kinds[kind] < 3 {
			t.Errorf("only %d files *%s were compared", kinds[kind], kind)
		}
	}
}

const (
	hangingTopic = "hanging"
	// The commands for what the script has left, with transactions that hang in two partitions.
	transactionCommands = `list
	list --duration-filter 3600000
	describe --transactional-id scripted-0
	describe --transactional-id scripted-1
	describe --transactional-id scripted-2
	describe --transactional-id scripted-3
	describe --transactional-id scripted-slow
	describe --transactional-id nobody
	describe-producers --topic scripted --partition 0
	describe-producers --topic scripted --partition 1
	describe-producers --topic scripted --partition 2 --broker-id 1
	describe-producers --topic __consumer_offsets --partition 0
	describe-producers --topic hanging --partition 0
	find-hanging --broker-id 1
	find-hanging --broker-id 1 --max-transaction-timeout 100
	find-hanging --topic hanging
	find-hanging --topic hanging --partition 1
	find-hanging --topic scripted
	abort --topic hanging --partition 0 --start-offset 1
	abort --topic hanging --partition 0 --start-offset 0
	abort --topic hanging --partition 0 --start-offset 0
	describe-producers --topic hanging --partition 0
	find-hanging --broker-id 1
	abort --topic hanging --partition 1 --producer-id PRODUCER --producer-epoch 0 --coordinator-epoch 0
	describe-producers --topic hanging --partition 1
	find-hanging --broker-id 1
	find-hanging
	abort --topic hanging --partition 0`
)

// compareCommands has Kafka's TransactionsCommand do the same to a Kafka and to us.
func compareCommands(t *testing.T, tools *tools, brokers [2]*harness.Broker) {
	t.Helper()
	hanging := time.Now().Add(-time.Hour)
	var producers [2]string
	for i, b := range brokers {
		client := franz(t, b)
		createTopic(t, b, hangingTopic, 2, nil)
		for partition := range int32(2) {
			p := newBareProducer(t, client, fmt.Sprintf("hangs-%d", partition), time.Minute)
			p.stamp = hanging.UnixMilli()
			p.send(t, client, hangingTopic, partition, "a", "b") // without telling the coordinator
			producers[i] = strconv.FormatInt(p.id, 10)
		}
	}
	for command := range strings.Lines(transactionCommands) {
		command = strings.TrimSpace(command)
		var said [2][]string
		for i, b := range brokers {
			args := strings.Fields(strings.ReplaceAll(command, "PRODUCER", producers[i]))
			said[i] = withoutTimes(args[0], normalise(tools.run("org.apache.kafka.tools.TransactionsCommand", append([]string{"--bootstrap-server", b.Addr}, args...)...)))
		}
		compareLines(t, command, said[1], said[0])
		t.Logf("%s\n\t%s", command, strings.Join(said[0], "\n\t"))
	}
	for _, b := range brokers {
		for partition := range int32(2) {
			if got := readAll(t, b, hangingTopic, partition, kgo.ReadCommitted()); len(got) > 0 {
				t.Errorf("what hung is read: %q", got)
			}
		}
	}
}

// withoutTimes takes the times out of what a command says, and how long they are ago.
func withoutTimes(command string, lines []string) []string {
	times := shownTimes
	if command == "describe-producers" { // an offset follows the time
		times = shownTimesAlone
	}
	for i := range lines {
		lines[i] = times.ReplaceAllString(lines[i], "TIME")
	}
	return lines
}

var (
	shownTimes      = regexp.MustCompile(`\b1\d{12}( \d+\b)?`)
	shownTimesAlone = regexp.MustCompile(`\b1\d{12}\b`)
)
