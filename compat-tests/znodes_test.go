package compat

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// TestZnodes has Kafka 3.9.2 and Gracchus do the same things, each in a path of
// its own, and compares the trees they leave, while they run and after they have
// stopped: paths, kinds, versions, ACLs and data, field by field, with null and
// empty told apart.
func TestZnodes(t *testing.T) {
	t.Parallel()
	kafkaRunning, kafkaStopped := treesOf(t, harness.StartKafka)
	running, stopped := treesOf(t, ours())
	compareTrees(t, "while it runs", running, kafkaRunning)
	compareTrees(t, "after it has stopped", stopped, kafkaStopped)
}

func treesOf(t *testing.T, start func(harness.TB, harness.Options) *harness.Broker) (running, stopped map[string]znode) {
	t.Helper()
	o := harness.Options{ZooKeeper: harness.ZooKeeper(t), Properties: []string{"log.segment.delete.delay.ms=100", "broker.rack=r1"}}
	conn, root := dialZooKeeper(t, o.ZooKeeper)
	b := start(t, o)
	client := franz(t, b)
	admin := kadm.NewClient(client)
	ctx := within(t, 2*time.Minute)

	createTopic(t, b, "one", 1, map[string]string{"segment.bytes": "100000"})
	createTopic(t, b, "three", 3, nil)
	if _, err := admin.CreateTopic(ctx, 2, 1, nil, "bare"); err != nil {
		t.Fatal(err)
	}
	createTopic(t, b, "gone", 2, nil)
	produce(t, client, "three", 3, 0, 30) // takes a block of producer ids
	if _, err := admin.UpdatePartitions(ctx, 4, "one"); err != nil {
		t.Fatal(err)
	}
	value := "200000"
	for _, name := range []string{"segment.bytes", "max.message.bytes"} {
		if altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}, "one"); err != nil || altered[0].Err != nil {
			t.Fatalf("alter: %v", err)
		}
	}
	if altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.DeleteConfig, Name: "retention.ms"}}, "three"); err != nil || altered[0].Err != nil {
		t.Fatalf("alter: %v", err)
	}
	if gone, err := admin.DeleteTopics(ctx, "gone"); err != nil || gone.Error() != nil {
		t.Fatalf("delete: %v", err)
	}
	waitUntil(t, "the deletion is through", func() bool {
		left, _, err := conn.Children(root + "/admin/delete_topics")
		there, _, err2 := conn.Exists(root + "/brokers/topics/gone")
		return err == nil && err2 == nil && len(left) == 0 && !there
	})
	waitUntil(t, "the new partitions are led", func() bool {
		_, err := conn.Sync(root)
		there, _, err2 := conn.Exists(root + "/brokers/topics/one/partitions/3/state")
		return err == nil && err2 == nil && there
	})
	running = tree(t, conn, root)
	b.StopCleanly(t)
	return running, tree(t, conn, root)
}

type znode struct {
	Ephemeral bool
	Version   int32
	ACL       []zk.ACL
	Null      bool
	Data      any // parsed JSON, or the text
	raw       string
}

func tree(t *testing.T, conn *zk.Conn, root string) map[string]znode {
	t.Helper()
	all := map[string]znode{}
	var walk func(path string)
	walk = func(path string) {
		data, stat, err := conn.Get(root + path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		acl, _, err := conn.GetACL(root + path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		n := znode{Ephemeral: stat.EphemeralOwner != 0, Version: stat.Version, ACL: acl, Null: data == nil, raw: string(data)}
		text := volatileText(path, string(data))
		if json.Unmarshal([]byte(text), &n.Data) != nil {
			n.Data = text
		}
		n.Data = volatileFields(n.Data)
		all[path] = n
		children, _, err := conn.Children(root + path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, child := range children {
			walk(path + "/" + child)
		}
	}
	walk("")
	return all
}

// volatileText puts a placeholder for what is different each time, where it is
// not a field of an object.
func volatileText(path, text string) string {
	if path == "" { // the chroot's own znode
		return text
	}
	return regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(text, "127.0.0.1:PORT")
}

// volatileFields does the same in parsed JSON: ids, times and ports, of which
// the form is kept.
func volatileFields(v any) any {
	object, ok := v.(map[string]any)
	if !ok {
		return v
	}
	for name, value := range object {
		switch {
		case name == "id" || name == "topic_id":
			if text, ok := value.(string); ok && regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`).MatchString(text) {
				object[name] = "ID"
			}
		case name == "timestamp":
			if text, ok := value.(string); ok && regexp.MustCompile(`^\d{13}$`).MatchString(text) {
				object[name] = "TIME"
			}
		case name == "port":
			if n, ok := value.(float64); ok && n > 0 {
				object[name] = "PORT"
			}
		}
	}
	return object
}

func compareTrees(t *testing.T, when string, got, want map[string]znode) {
	t.Helper()
	var paths []string
	for path := range want {
		paths = append(paths, path)
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s: %s is there, but not with Kafka: %s", when, path, got[path].raw)
		}
	}
	sort.Strings(paths)
	if len(paths) < 30 || !slices.ContainsFunc(paths, func(p string) bool { return strings.HasSuffix(p, "/partitions/2/state") }) {
		t.Fatalf("%s: Kafka left only %v", when, paths)
	}
	for _, path := range paths {
		g, ok := got[path]
		if !ok {
			t.Errorf("%s: %s is missing; with Kafka it is %s", when, path, want[path].raw)
			continue
		}
		if w := want[path]; g.Ephemeral != w.Ephemeral || g.Version != w.Version || g.Null != w.Null || !reflect.DeepEqual(g.ACL, w.ACL) || !reflect.DeepEqual(g.Data, w.Data) {
			t.Errorf("%s: %s\n got %s\nwant %s", when, path, g, w)
		}
	}
}

func (n znode) String() string {
	text := n.raw
	if n.Null {
		text = "null"
	}
	return fmt.Sprintf("version %d ephemeral %v acl %v %s", n.Version, n.Ephemeral, n.ACL, text)
}
