package main

import (
	"bufio"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// kafkaVersion is what scripts/fetch gets.
const kafkaVersion = "3.9.2"

// thisRun says where and of what the numbers will be. binary is the broker's.
func thisRun(s scale, binary string, now time.Time) Run {
	r := Run{
		Date: now.Format(time.DateOnly), Scale: s.name, CPU: cpuModel(), Cores: runtime.NumCPU(),
		Go: strings.TrimPrefix(runtime.Version(), "go"), Java: javaVersion(), Kafka: kafkaVersion, Gracchus: commit(binary),
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

func javaVersion() string {
	out, _ := exec.Command("java", "-version").CombinedOutput()
	if m := regexp.MustCompile(`version "([^"]+)"`).FindSubmatch(out); m != nil {
		return string(m[1])
	}
	return "unknown"
}

// commit that a binary was built of, marked if files were changed since.
func commit(binary string) string {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return "unknown"
	}
	revision, changed := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = " with changes"
		}
	}
	return revision + changed
}

func (r Run) String() string {
	return fmt.Sprintf("%s, `scripts/bench %s`, Gracchus %s, Kafka %s on Java %s, Go %s; %d cores of %s, %d GB, Linux %s",
		r.Date, r.Scale, r.Gracchus, r.Kafka, r.Java, r.Go, r.Cores, r.CPU, r.MemoryGB, r.Kernel)
}
