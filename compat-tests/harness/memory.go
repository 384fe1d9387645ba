package harness

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is a line of /proc/PID/status, in bytes: VmRSS is what the process has
// resident now, VmHWM the most that it has had.
func (p *Process) Memory(line string) int {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		p.t.Fatal(err)
	}
	for l := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(l, line+":"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				p.t.Fatal(err)
			}
			return kib << 10
		}
	}
	p.t.Fatalf("no %s in\n%s", line, status)
	return 0
}
