package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// kafkaVersion is what scripts/fetch gets.
const kafkaVersion = "3.9.2"

// thisRun says where and of what the numbers will be.
func thisRun(s scale, now time.Time) Run {
	r := Run{
		Date: now.Format(time.DateOnly), Scale: s.name, CPU: cpuModel(), Cores: runtime.NumCPU(),
		Go: strings.TrimPrefix(runtime.Version(), "go"), Java: javaVersion(), Kafka: kafkaVersion, Gracchus: commit(), Load: loadAverage(), TCP: congestionControlled(),
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		r.MemoryGB = int((info.Totalram*uint64(info.Unit) + 1<<29) >> 30)
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		r.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	return r
}

func cpuModel() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, value, is := strings.Cut(lines.Text(), ":"); is && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// loadAverage is that of the last minute; 0 if it is not known.
func loadAverage() float64 {
	content, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(content), " ")
	load, _ := strconv.ParseFloat(first, 64)
	return load
}

func javaVersion() string {
	out, _ := exec.Command("java", "-version").CombinedOutput()
	if m := regexp.MustCompile(`version "([^"]+)"`).FindSubmatch(out); m != nil {
		return string(m[1])
	}
	return "unknown"
}

// commit that is measured, marked if files other than those that the report writes
// were changed since.
func commit() string {
	git := func(args ...string) (string, error) {
		out, err := exec.Command("git", append([]string{"-C", harness.Repository()}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	head, err := git("rev-parse", "--short=12", "HEAD")
	if err != nil {
		return "unknown"
	}
	if changed, err := git("status", "--porcelain", "--", ".", ":!docs"); err != nil || changed != "" {
		return head + " with changes"
	}
	return head
}

// busy is a load average before a run that spoils it. (Building the programs makes
// some, too.)
const busy = 2

func (r Run) String() string {
	text := fmt.Sprintf("%s, `scripts/bench %s`, Gracchus %s, Kafka %s on Java %s, Go %s; %d cores of %s, %d GB, Linux %s",
		r.Date, r.Scale, r.Gracchus, r.Kafka, r.Java, r.Go, r.Cores, r.CPU, r.MemoryGB, r.Kernel)
	if r.TCP != "" {
		text += ", TCP " + r.TCP
	}
	if paced(r.TCP) {
		text += "; **its TCP is paced: processor times of consuming vary by half**"
	}
	if r.Load > busy {
		text += fmt.Sprintf("; **the machine was busy with other things (load %.1f): these numbers are rough**", r.Load)
	}
	return text
}
