package harness

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestLongLine has a process write a line that is longer than anybody wants to
// keep, as Kafka does of a request with 10,000 partitions. What comes after it
// must be read: a process that nobody listens to stops.
func TestLongLine(t *testing.T) {
	p := start(t, "a process", exec.Command("bash", "-c", `echo before; head -c 3000000 /dev/zero | tr '\0' x; echo; echo after`))
	p.WaitFor("^after$", 20*time.Second)
	lines := strings.Split(p.Output(), "\n")
	if len(lines) != 3 || lines[0] != "before" || len(lines[1]) != longestLine || lines[1] != strings.Repeat("x", longestLine) {
		t.Errorf("%d lines were kept, of which the second has %d bytes", len(lines), len(lines[1]))
	}
}
