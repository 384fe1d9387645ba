package compat

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// TestConsumerGroupCommand has Kafka 3.9.2's ConsumerGroupCommand do the same to a Kafka
// and to us, in the same state, and compares all that it says. In the end Kafka's
// DumpLogSegments finds the same records in both __consumer_offsets.
func TestConsumerGroupCommand(t *testing.T) {
	tools := startTools(t)
	o := harness.Options{Properties: []string{"offsets.topic.num.partitions=1"}}
	kafka := o
	kafka.ZooKeeper = harness.ZooKeeper(t)
	brokers := [2]*harness.Broker{harness.StartKafka(t, kafka), startTarget(t, harness.Targets(t)[0], o)}
	var settle [2]func()
	for i, b := range brokers {
		settle[i] = groupsForCommands(t, b)
	}
	offsets := filepath.Join(t.TempDir(), "offsets.csv")
	if err := os.WriteFile(offsets, []byte("commands-a,2,9\ncommands-b,0,1000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	both := func(commands string) {
		t.Helper()
		for command := range strings.Lines(commands) {
			command = strings.ReplaceAll(strings.TrimSpace(command), "OFFSETS", offsets)
			var said [2][]string
			for i, b := range brokers {
				said[i] = normalise(tools.run("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
					append([]string{"--bootstrap-server", b.Addr}, strings.Fields(command)...)...))
			}
			compareLines(t, command, said[1], said[0])
			t.Logf("%s\n\t%s", command, strings.Join(said[0], "\n\t"))
		}
	}
	both(lookCommands)
	for _, f := range settle {
		f()
	}
	both(changeCommands)
	var dumped [2][]string
	for i, b := range brokers {
		dumped[i] = dumpOffsets(t, tools, b)
	}
	compareLines(t, "the dump of __consumer_offsets", dumped[1], dumped[0])
	t.Logf("%d lines of dumps, as\n\t%s", len(dumped[0]), strings.Join(dumped[0][:20], "\n\t"))
}

const lookCommands = `--list
	--list --state
	--list --state Stable
	--list --state empty,preparingrebalance
	--list --type
	--list --type classic --state
	--describe --group stable
	--describe --group stable --offsets --verbose
	--describe --group stable --members
	--describe --group stable --members --verbose
	--describe --group stable --state
	--describe --group empty
	--describe --group empty --members --verbose
	--describe --group empty --state
	--describe --group simple
	--describe --group simple --state
	--describe --group rebalancing
	--describe --group rebalancing --members --verbose
	--describe --group rebalancing --state
	--describe --group joined
	--describe --group joined --members --verbose
	--describe --group joined --state
	--describe --group workers
	--describe --group missing
	--describe --group missing --members
	--describe --group missing --state
	--describe --group simple --group empty
	--describe --all-groups --state
	--reset-offsets --group rebalancing --topic commands-a --to-earliest --execute
	--delete --group rebalancing
	--delete-offsets --group rebalancing --topic commands-a`

const changeCommands = `--reset-offsets --group empty --all-topics --to-earliest
	--reset-offsets --group empty --all-topics --to-earliest --dry-run
	--describe --group empty
	--reset-offsets --group empty --topic commands-a --to-earliest --execute
	--describe --group empty
	--reset-offsets --group empty --all-topics --shift-by 4 --execute
	--reset-offsets --group empty --topic commands-a:0,2 --shift-by -2 --execute
	--reset-offsets --group empty --topic commands-b --shift-by -1000 --execute
	--describe --group empty
	--reset-offsets --group empty --all-topics --to-datetime 2023-11-14T22:13:50.000 --execute
	--describe --group empty
	--reset-offsets --group empty --topic commands-a --to-datetime 2050-01-01T00:00:00.000 --execute
	--reset-offsets --group empty --topic commands-a:1 --by-duration P20000D --execute
	--reset-offsets --group empty --topic commands-a --to-offset 7 --execute
	--reset-offsets --group empty --topic commands-b --to-latest --execute
	--reset-offsets --group empty --all-topics --to-current --execute --export
	--reset-offsets --group empty --from-file OFFSETS --execute
	--reset-offsets --group empty --topic nowhere --to-earliest --execute
	--reset-offsets --group new --topic commands-b:1 --to-earliest --execute
	--describe --group new
	--reset-offsets --group simple --all-topics --to-latest --execute
	--reset-offsets --group stable --topic commands-a --to-earliest --execute
	--reset-offsets --group missing --all-topics --to-earliest --execute
	--reset-offsets --all-groups --all-topics --to-earliest --dry-run
	--describe --all-groups
	--delete-offsets --group empty --topic commands-b:1
	--delete-offsets --group empty --topic commands-a --topic nowhere
	--describe --group empty
	--delete-offsets --group stable --topic commands-a
	--delete-offsets --group stable --topic commands-b
	--delete-offsets --group missing --topic commands-a
	--delete-offsets --group new --topic commands-b
	--describe --group new
	--delete --group empty
	--delete --group stable
	--delete --group missing
	--delete --group simple --group missing --group joined
	--describe --group empty
	--delete --all-groups
	--list --state`

// groupsForCommands makes groups in all states. settle ends the rebalances.
func groupsForCommands(t *testing.T, b *harness.Broker) (settle func()) {
	t.Helper()
	createTopic(t, b, "commands-a", 3, nil)
	createTopic(t, b, "commands-b", 2, nil)
	client := franz(t, b)
	produce(t, client, "commands-a", 3, 0, 60)
	produce(t, client, "commands-b", 2, 0, 30)
	client.Close()

	commit(t, b, "simple", "commands-b", 2, 3, -1)
	commit(t, b, "expires", "commands-b", 1, 4, 3_600_000)
	empty := &bareGroup{name: "empty", protocolType: "consumer", topic: "commands-a", partitions: 3}
	empty.come(t, b, &bareMember{name: "gone"})
	empty.leave(t, b, empty.members[0])
	commit(t, b, "empty", "commands-a", 3, 5, -1)
	commit(t, b, "empty", "commands-b", 2, 6, -1)

	stable := &bareGroup{name: "stable", protocolType: "consumer", topic: "commands-a", partitions: 3}
	commit(t, b, "stable", "commands-a", 2, 11, -1)
	commit(t, b, "stable", "commands-b", 1, 25, -1)
	for _, m := range []*bareMember{{name: "first"}, {name: "second", instance: "an-instance"}, {name: "third"}, {name: "idle"}} {
		stable.come(t, b, m)
	}
	workers := &bareGroup{name: "workers", protocolType: "connect", topic: "commands-a", partitions: 3}
	workers.come(t, b, &bareMember{name: "worker"})

	rebalancing := &bareGroup{name: "rebalancing", protocolType: "consumer", topic: "commands-a", partitions: 3}
	commit(t, b, "rebalancing", "commands-a", 2, 1, -1)
	rebalancing.come(t, b, &bareMember{name: "one"})
	newcomer := &bareMember{name: "another"}
	rebalancing.members = append(rebalancing.members, newcomer)
	begun := rebalancing.join(t, b, newcomer)
	rebalancing.await(t, b, "PreparingRebalance")

	joined := &bareGroup{name: "joined", protocolType: "consumer", topic: "commands-b", partitions: 2, members: []*bareMember{{name: "one"}}}
	leader := joined.follow(t, b, joined.members[0], joined.join(t, b, joined.members[0]))
	return func() {
		rebalancing.sync(t, b, rebalancing.follow(t, b, newcomer, begun))
		joined.sync(t, b, leader)
	}
}

var (
	uuids     = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	logged    = regexp.MustCompile(`(?m)^\[\d{4}-\d\d-\d\d [^]]*\]`)
	addresses = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	spaces    = regexp.MustCompile(`[ \t]+`)
)

// normalise takes out of a text what differs from one run to the next: ids, addresses,
// and, for both depend on ids, the width of columns and the order of lines.
func normalise(said string) []string {
	said = uuids.ReplaceAllString(said, "ID")
	said = logged.ReplaceAllString(said, "LOGGED")
	said = addresses.ReplaceAllString(said, "ADDRESS")
	said = spaces.ReplaceAllString(said, " ")
	lines := strings.Split(strings.TrimSpace(said), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	slices.Sort(lines)
	return lines
}

var (
	times     = regexp.MustCompile(`(CreateTime|Timestamp"|crc|expireTimestamp"): ?\d+`)
	positions = regexp.MustCompile(`^\| offset: \d+| sequence: \d+`)
)

// dumpOffsets is what Kafka's DumpLogSegments finds in __consumer_offsets, without times
// and the order of what is in one batch or one group, which in Kafka is that of hashes.
func dumpOffsets(t *testing.T, k *tools, b *harness.Broker) []string {
	t.Helper()
	file := filepath.Join(b.Options.Dirs[0], "__consumer_offsets-0", "00000000000000000000.log")
	said := k.run("kafka.tools.DumpLogSegments", "--offsets-decoder", "--deep-iteration", "--print-data-log", "--files", file)
	said = uuids.ReplaceAllString(strings.ReplaceAll(said, file, "FILE"), "ID")
	lines := strings.Split(strings.TrimSpace(times.ReplaceAllString(said, "$1:TIME")), "\n")
	batch := 0
	for i, line := range lines {
		if !strings.HasPrefix(line, "|") {
			slices.Sort(lines[batch:i])
			batch = i + 1
			continue
		}
		lines[i] = "|" + positions.ReplaceAllString(line, "")
		if head, value, ok := strings.Cut(lines[i], "payload: {"); ok {
			lines[i] = head + sortMembers(t, strings.ReplaceAll("{"+value, ":TIME", ":0"))
		}
	}
	slices.Sort(lines[batch:])
	return lines
}

// sortMembers sorts the members in the value of a group.
func sortMembers(t *testing.T, value string) string {
	t.Helper()
	var v struct {
		Version string
		Data    map[string]any
	}
	if err := json.Unmarshal([]byte(value), &v); err != nil {
		t.Fatalf("%v: %s", err, value)
	}
	if members, ok := v.Data["members"].([]any); ok {
		slices.SortFunc(members, func(x, y any) int { return strings.Compare(fmt.Sprint(x), fmt.Sprint(y)) })
	}
	return fmt.Sprint(v)
}
