package compat

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// kcat is librdkafka of an older release, on the command line.
func TestKcat(t *testing.T) {
	binary := harness.Fetch(t, "kcat")
	onTargets(t, func(t *testing.T, b *harness.Broker) {
		kcat := func(input string, args ...string) string {
			t.Helper()
			cmd := exec.Command(binary, append([]string{"-b", b.Addr}, args...)...)
			cmd.Stdin = strings.NewReader(input)
			return harness.Run(t, time.Minute, cmd)
		}
		createTopic(t, b, "kcat", 1, map[string]string{})
		var lines, want strings.Builder
		for i := range 100 {
			fmt.Fprintf(&lines, "key-%d:value %d\n", i, i)
		}
		offset := 0
		for _, codec := range codecs {
			kcat(lines.String(), "-P", "-t", "kcat", "-p", "0", "-z", codec, "-K:", "-H", "codec="+codec, "-X", fmt.Sprintf("enable.idempotence=%v", offset%200 == 0))
			for i := range 100 {
				fmt.Fprintf(&want, "%d codec=%s key-%d value %d\n", offset, codec, i, i)
				offset++
			}
		}
		if got := kcat("", "-C", "-t", "kcat", "-p", "0", "-o", "beginning", "-e", "-q", "-f", `%o %h %k %s\n`); got != want.String() {
			t.Errorf("read back %d bytes that differ from the %d written: %.300s…", len(got), want.Len(), got)
		}
		for at, want := range map[string]string{"-1": "500", "-2": "0"} {
			if got := kcat("", "-Q", "-t", "kcat:0:"+at); strings.TrimSpace(got) != "kcat [0] offset "+want {
				t.Errorf("offset for %s: %s", at, got)
			}
		}
		produceTransactions(t, b, "kcat-transactions")
		leaveOpen(t, b, "kcat-transactions", 0)
		for from := range middles {
			got := kcat("", "-C", "-t", "kcat-transactions", "-p", "0", "-o", fmt.Sprint(from), "-e", "-q", "-f", `%o %s\n`, "-X", "isolation.level=read_committed", "-X", "fetch.wait.max.ms=10")
			compareLines(t, fmt.Sprintf("read_committed from offset %d", from), strings.Split(strings.TrimSpace(got), "\n"), offsetsOf(0, int64(from), true))
		}
		if got := kcat("", "-L", "-t", "kcat"); !strings.Contains(got, `topic "kcat" with 1 partitions`) || !strings.Contains(got, "broker 1 at "+b.Addr) {
			t.Errorf("metadata: %s", got)
		}
		// A topic that nobody created comes to be when it is written to.
		kcat("by itself\n", "-P", "-t", "kcat-auto")
		if got := kcat("", "-C", "-t", "kcat-auto", "-o", "beginning", "-e", "-q"); got != "by itself\n" {
			t.Errorf("from the topic that came to be: %q", got)
		}
	})
}
