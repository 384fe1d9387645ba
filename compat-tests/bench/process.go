package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is the processor time that a process has used, in user and system
// mode, in all its threads, ended ones too. It is the sum that /proc/PID/stat
// shows in hundredths of a second, to the nanosecond.
func cpuTime(pid int) (time.Duration, error) {
	const schedulerClock = 2 // clock_getcpuclockid(3) makes such an id of a pid
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|schedulerClock, &t); err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// spent is the processor time that processes use together while something is done.
func spent(pids []int, do func() error) (time.Duration, error) {
	before, err := cpuTimes(pids)
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := cpuTimes(pids)
	return after - before, err
}

func cpuTimes(pids []int) (sum time.Duration, err error) {
	for _, pid := range pids {
		t, err := cpuTime(pid)
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// memory of a process in bytes: what is resident now, and at most since it
// started or resetPeak.
type memory struct{ resident, peak int64 }

func memoryOf(pid int) (memory, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, err
	}
	defer file.Close()
	var m memory
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		field := map[string]*int64{"VmRSS": &m.resident, "VmHWM": &m.peak}[name]
		if field == nil {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return memory{}, fmt.Errorf("%s of process %d is %q", name, pid, value)
		}
		*field = kib << 10
	}
	return m, nil
}
