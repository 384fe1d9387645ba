package zkmeta

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/gracchus-mq/gracchus/protocol"
)

// node is one line of testdata/kafka-3.9.2.tsv, what a real broker wrote.
type node struct {
	path, kind string
	version    string
	data       []byte // nil for null
}

func kafkaTree(t testing.TB) []node {
	t.Helper()
	return kafkaNodes(t, "testdata/kafka-3.9.2.tsv")
}

// passingNodes are those that no tree has for long.
func passingNodes(t testing.TB) []node {
	t.Helper()
	return kafkaNodes(t, "testdata/kafka-3.9.2-passing.tsv")
}

func kafkaNodes(t testing.TB, file string) []node {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var nodes []node
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 4 {
			t.Fatalf("line %q", line)
		}
		n := node{path: f[0], kind: f[1], version: f[2]}
		if f[3] != "null" {
			n.data = []byte(f[3])
		}
		nodes = append(nodes, n)
	}
	return nodes
}

// reencode decodes a node of Kafka's by the decoder for its path and encodes it
// again. known is false for paths that this package leaves to others.
func reencode(t *testing.T, path string, data []byte) (again []byte, known bool) {
	t.Helper()
	must := func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: encode: %v", path, err)
		}
		return b
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: decode: %v", path, err)
		}
	}
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	switch {
	case strings.HasPrefix(path, BrokerIDsPath+"/"):
		id, _ := strconv.Atoi(parts[2])
		r, err := DecodeBrokerRegistration(int32(id), data)
		check(err)
		return must(r.Encode()), true
	case path == ControllerPath:
		c, err := DecodeController(data)
		check(err)
		return must(c.Encode()), true
	case path == ControllerEpochPath:
		e, err := DecodeControllerEpoch(data)
		check(err)
		return EncodeControllerEpoch(e), true
	case path == ClusterIDPath:
		id, err := DecodeClusterID(data)
		check(err)
		return must(EncodeClusterID(id)), true
	case path == FeaturePath:
		f, err := DecodeFeature(data)
		check(err)
		return must(f.Encode()), true
	case path == ProducerIDBlockPath:
		b, err := DecodeProducerIDBlock(data)
		check(err)
		return must(b.Encode()), true
	case strings.HasPrefix(path, TopicsPath+"/") && len(parts) == 3:
		a, err := DecodeTopicAssignment(parts[2], data)
		check(err)
		return must(a.Encode()), true
	case strings.HasPrefix(path, TopicsPath+"/") && len(parts) == 6:
		s, err := DecodePartitionState(protocol.TopicPartition{Topic: parts[2]}, data)
		check(err)
		return must(s.Encode()), true
	case strings.HasPrefix(path, ConfigChangesPath+"/"):
		e, err := DecodeConfigChange(data)
		check(err)
		return must(EncodeConfigChange(e)), true
	case strings.HasPrefix(path, "/config/"):
		e, err := ParseConfigEntity(strings.TrimPrefix(path, "/config/"))
		check(err)
		if e.Path() != path {
			t.Errorf("entity path %s, want %s", e.Path(), path)
		}
		c, err := DecodeConfig(e, data)
		check(err)
		return must(EncodeConfig(c)), true
	case strings.HasPrefix(path, ISRChangesPath+"/"):
		list, err := DecodeISRChange(data)
		check(err)
		return must(EncodeISRChange(list)), true
	case path == PreferredElectionPath:
		list, err := DecodePreferredElection(data)
		check(err)
		return must(EncodePreferredElection(list)), true
	case path == ReassignPartitionsPath:
		targets, err := DecodeReassignment(data)
		check(err)
		return must(EncodeReassignment(targets)), true
	case strings.HasPrefix(path, LogDirEventsPath+"/"):
		id, err := DecodeLogDirEvent(data)
		check(err)
		return must(EncodeLogDirEvent(id)), true
	}
	return nil, false
}

// TestKafkaTree decodes every node with data that a Kafka 3.9.2 broker made, and
// encodes it again: same fields, same types, same values.
func TestKafkaTree(t *testing.T) {
	covered := map[string]bool{}
	for _, n := range append(kafkaTree(t), passingNodes(t)...) {
		if n.data == nil {
			continue
		}
		again, known := reencode(t, n.path, n.data)
		if !known {
			if !strings.HasPrefix(n.path, "/kafka-acl") {
				t.Errorf("no codec for %s", n.path)
			}
			continue
		}
		covered[strings.SplitN(n.path, "/", 3)[1]] = true
		if !sameJSON(t, again, n.data) {
			t.Errorf("%s:\n got %s\nwant %s", n.path, again, n.data)
		}
		if bytes.ContainsRune(again, '\n') {
			t.Errorf("%s: %q is more than one line", n.path, again)
		}
	}
	for _, top := range []string{"brokers", "cluster", "config", "controller", "controller_epoch", "feature", "latest_producer_id_block",
		"admin", "isr_change_notification", "log_dir_event_notification"} {
		if !covered[top] {
			t.Errorf("nothing below /%s was compared", top)
		}
	}
}

// TestPersistentPaths compares the paths made at start-up with those that a real
// broker has without data (parents and the authorizer's aside).
func TestPersistentPaths(t *testing.T) {
	all := map[string]bool{}
	for _, n := range kafkaTree(t) {
		all[n.path] = true
	}
	for _, path := range PersistentPaths() {
		if !all[path] {
			t.Errorf("%s is not in Kafka's tree", path)
		}
	}
	if len(PersistentPaths()) != 14 {
		t.Errorf("%d paths, Kafka makes 14", len(PersistentPaths()))
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	decode := func(data []byte) (v any) {
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		return v
	}
	return reflect.DeepEqual(decode(a), decode(b))
}
