package differential

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// Both brokers start with the log directory that a Kafka 0.10.2 left behind; see
// storage/testdata/README.md. Its topics come to life when they are created.

// oldSegments is a copy of that directory.
func oldSegments(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	from := filepath.Join(harness.Repository(), "storage", "testdata", "kafka-0.10.2.2")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "kafka_cleanshutdown"), filepath.Join(dir, ".kafka_cleanshutdown")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The topics, and where they end.
var oldTopics = []string{"format0", "format1", "format1-stamped"}

const oldEnd = 144

// adopt creates such a topic, if that has not been done.
func (c *conversation) adopt(topic string) {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 15000
	req.Topics = append(req.Topics, newTopic(topic, 1, 1))
	resp := c.quietly(req).(*kmsg.CreateTopicsResponse)
	if code := resp.Topics[0].ErrorCode; code != 0 && code != 36 {
		c.t.Fatalf("%s: cannot create %s: error code %d", c.target.name, topic, code)
	}
}

func oldSegmentFetches() []spec {
	var cases []spec
	for _, topic := range oldTopics {
		cases = append(cases, spec{"old segments: " + topic, 0, 0, func(c *conversation) {
			c.adopt(topic)
			id := c.id(topic)
			for offset := int64(0); offset < oldEnd; offset += 11 { // also in the middle of compressed messages
				req := fetchFrom(topic, id, 0, offset)
				// Where a message is compressed anew, compressors decide what fits: one message then.
				req.Topics[0].Partitions[0].PartitionMaxBytes = 400
				c.ask(req)
			}
		}})
	}
	return cases
}

func oldSegmentOffsets() []spec {
	var cases []spec
	for _, topic := range oldTopics {
		cases = append(cases, spec{"old segments: " + topic, 0, 0, func(c *conversation) {
			c.adopt(topic)
			for _, ts := range []int64{-1, -2, -3} {
				c.ask(offsetsAt(topic, 0, ts))
			}
			if topic == "format1-stamped" || c.version == 0 { // by the times of the files
				return
			}
			for i := int64(0); i < oldEnd; i += 5 {
				c.ask(offsetsAt(topic, 0, firstTimestamp+1000*i))
				c.ask(offsetsAt(topic, 0, firstTimestamp+1000*i-499))
			}
		}})
	}
	return cases
}
