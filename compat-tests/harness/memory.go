package harness

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is MemoryOf this process.
func (p *Process) Memory(line string) int {
	p.t.Helper()
	bytes, err := MemoryOf(p.Pid(), line)
	if err != nil {
		p.t.Fatal(err)
	}
	return bytes
}

// MemoryOf is a line of /proc/PID/status, in bytes: VmRSS is what the process has
// resident now, VmHWM the most that it has had.
func MemoryOf(pid int, line string) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for l := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(l, line+":"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in\n%s", line, status)
}
