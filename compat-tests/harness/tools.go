package harness

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// Repository is the folder of the whole project, in which this process was started, or in
// a folder below it.
func Repository() string {
	at, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(at, "compat-tests", "go.mod")); err == nil {
			return at
		}
		above := filepath.Dir(at)
		if above == at {
			panic("not in a checkout of the project, whose scripts and test data are needed: start it there")
		}
		at = above
	}
}

// exit code of scripts/fetch for what cannot be had on this machine
const unavailable = 3

// Fetch asks scripts/fetch for a tool and returns where it is. If it cannot be
// had the test fails under CI=true and is skipped elsewhere.
func Fetch(t TB, what string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(Repository(), "scripts", "fetch"), what)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err == nil {
		return strings.TrimSpace(string(out))
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == unavailable && os.Getenv("CI") != "true" {
		t.Skipf("%s: %s", what, said.String())
	}
	t.Fatalf("scripts/fetch %s: %v\n%s", what, err, said.String())
	return ""
}

var build struct {
	once   sync.Once
	binary string
	err    error
	said   []byte
}

// Binary builds the broker, once for all tests of the process. GRACCHUS_BINARY
// names one that is built already.
func Binary(t TB) string {
	t.Helper()
	build.once.Do(func() {
		if build.binary = os.Getenv("GRACCHUS_BINARY"); build.binary != "" {
			return
		}
		build.binary = filepath.Join(os.TempDir(), "gracchus-compat-tests", "gracchus")
		cmd := exec.Command("go", "build", "-o", build.binary, ".")
		cmd.Dir = Repository()
		build.said, build.err = cmd.CombinedOutput()
	})
	if build.err != nil {
		t.Fatalf("go build: %v\n%s", build.err, build.said)
	}
	return build.binary
}

// Kafka is a command of scripts/kafka.
func Kafka(t TB, args ...string) *exec.Cmd {
	t.Helper()
	Fetch(t, "kafka")
	return exec.Command(filepath.Join(Repository(), "scripts", "kafka"), args...)
}
