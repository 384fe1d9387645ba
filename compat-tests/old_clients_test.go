package compat

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// codecs are those that were there in the version.
func (s saramaClient) codecs() []string {
	switch {
	case s.version.IsAtLeast(sarama.V2_1_0_0):
		return codecs
	case s.version.IsAtLeast(sarama.V0_10_0_0):
		return codecs[:4]
	}
	return codecs[:3] // LZ4 of that time had a wrong checksum, which no library of today takes
}

// TestSaramaOfOldVersions has sarama talk as to a broker of each version: it
// writes, reads what it wrote and what a client of today wrote, and administers.
// Before 0.11 records are in the old formats, both ways.
func TestSaramaOfOldVersions(t *testing.T) {
	onTargets(t, func(t *testing.T, b *harness.Broker) {
		today := saramaClient{sarama.MaxVersion, []string{b.Addr}}
		for _, codec := range codecs {
			createTopic(t, b, "today-"+codec, partitions, nil)
			today.produce(t, "today-"+codec, saramaCodecs[codec], false)
		}
		for _, version := range []sarama.KafkaVersion{
			sarama.V0_8_2_2, sarama.V0_9_0_1, sarama.V0_10_0_1, sarama.V0_10_2_2, sarama.V0_11_0_0, sarama.V1_0_0_0,
			sarama.V2_0_0_0, sarama.V2_1_0_0, sarama.V2_4_0_0, sarama.V2_8_0_0, sarama.V3_0_0_0, sarama.V3_9_0_0,
		} {
			t.Run(version.String(), func(t *testing.T) {
				t.Parallel()
				old := saramaClient{version, []string{b.Addr}}
				said := func(i int) harness.Record { return old.record(harness.MakeRecord(i)) }
				for _, codec := range old.codecs() {
					topic := fmt.Sprintf("sarama-%v-%s", version, codec)
					createTopic(t, b, topic, partitions, nil)
					old.produce(t, topic, saramaCodecs[codec], false)
					old.read(t, topic, said)
					checkTopicIs(t, b, topic, partitions, count, said)
					old.read(t, "today-"+codec, harness.MakeRecord)
				}
				if version.IsAtLeast(sarama.V0_11_0_0) {
					topic := fmt.Sprintf("sarama-%v-idempotent", version)
					createTopic(t, b, topic, partitions, nil)
					old.produce(t, topic, sarama.CompressionSnappy, true)
					old.read(t, topic, harness.MakeRecord)
					old.administrate(t, old.admin(t), topic)
				}
			})
		}
	})
}

// TestOldLibrdkafka has kcat believe that the broker is of an old version: it does
// not ask, and takes the requests and the formats of that time.
func TestOldLibrdkafka(t *testing.T) {
	binary := harness.Fetch(t, "kcat")
	onTargets(t, func(t *testing.T, b *harness.Broker) {
		for _, version := range []string{"0.8.2", "0.9.0", "0.10.0"} {
			t.Run(version, func(t *testing.T) {
				topic := "kcat-" + version
				createTopic(t, b, topic, 1, nil)
				kcat := func(input string, args ...string) string {
					t.Helper()
					cmd := exec.Command(binary, append([]string{"-b", b.Addr, "-X", "api.version.request=false", "-X", "broker.version.fallback=" + version}, args...)...)
					cmd.Stdin = strings.NewReader(input)
					return harness.Run(t, time.Minute, cmd)
				}
				var lines, want strings.Builder
				for i := range 100 {
					fmt.Fprintf(&lines, "key-%d:value %d\n", i, i)
				}
				offset := 0
				for _, codec := range codecs[:4] {
					kcat(lines.String(), "-P", "-t", topic, "-p", "0", "-z", codec, "-K:")
					for i := range 100 {
						fmt.Fprintf(&want, "%d key-%d value %d\n", offset, i, i)
						offset++
					}
				}
				read := []string{"-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-q", "-f", `%o %k %s\n`}
				if got := kcat("", read...); got != want.String() {
					t.Errorf("read back %d bytes that differ from the %d written: %.300s…", len(got), want.Len(), got)
				}
				// The same to a client of today.
				today := harness.Run(t, time.Minute, exec.Command(binary, append([]string{"-b", b.Addr}, read...)...))
				if today != want.String() {
					t.Errorf("a client of today reads %d bytes that differ from the %d written: %.300s…", len(today), want.Len(), today)
				}
			})
		}
	})
}
