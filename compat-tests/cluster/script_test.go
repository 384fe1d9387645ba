package cluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// TestScript: scripts/cluster runs three brokers, tells what happens to them, and stops
// them all on Ctrl-C.
func TestScript(t *testing.T) {
	script := filepath.Join(harness.Repository(), "scripts", "cluster")
	first := consecutivePorts(t, 4)
	environment := append(os.Environ(), "GRACCHUS_BINARY="+harness.Binary(t), "CLUSTER_DIR="+t.TempDir(),
		fmt.Sprintf("CLUSTER_PORT=%d", first), fmt.Sprintf("CLUSTER_ZOOKEEPER_PORT=%d", first+3))
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(script, args...)
		cmd.Env = environment
		return cmd
	}
	ask := func(args ...string) string {
		t.Helper()
		return harness.Run(t, 20*time.Second, command(args...))
	}
	p := harness.StartProcess(t, "scripts/cluster", command("--override", "num.partitions=6", "--override", "controlled.shutdown.retry.backoff.ms=500"))
	t.Cleanup(func() {
		for id := 1; id <= 3; id++ { // as when the test fails half-way
			command("kill", fmt.Sprint(id)).Run()
		}
	})
	p.WaitFor("^bootstrap servers +"+address(first), 30*time.Second)
	c := client(t, []string{address(first + 2)})
	create(t, c, "t", -1, 1, nil)
	eventually(t, 10*time.Second, "all brokers are told of, and the six partitions that are overridden", func() bool {
		m := describe(t.Context(), c, "t")
		return m != nil && len(m.Topics[0].Partitions) == 6 && len(m.Brokers) == 3
	})

	ask("kill", "2")
	p.WaitFor("broker 2 has ended without stopping", 10*time.Second)
	if status := ask("status"); strings.Count(status, "running, process") != 2 || strings.Count(status, ", controller") != 1 || !strings.Contains(status, "not running") {
		t.Errorf("status with broker 2 killed:\n%s", status)
	}
	ask("start", "2")
	produce(t, c, "t", 6, 1)
	ask("stop", "3")
	p.WaitFor("broker 3 has stopped", 10*time.Second)
	if said, err := command("start", "4").CombinedOutput(); err == nil || !strings.Contains(string(said), "1 2 3") {
		t.Errorf("start 4: %v, %s", err, said)
	}

	if err := p.Signal(syscall.SIGINT, 60*time.Second); err != nil {
		t.Errorf("after Ctrl-C: %v\n%s", err, p.Output())
	}
	if status := ask("status"); strings.Count(status, "not running") != 3 {
		t.Errorf("status after Ctrl-C:\n%s", status)
	}
	if said := p.Output(); !strings.Contains(said, "broker 1 has stopped") || strings.Contains(said, "broker 1 has ended without") {
		t.Errorf("brokers did not stop cleanly:\n%s", said)
	}
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// consecutivePorts is the first of n free ports in a row, below those that the kernel
// gives to connections: one of these could take it meanwhile.
func consecutivePorts(t *testing.T, n int) int {
	t.Helper()
	for range 100 {
		first, free := 20_000+rand.IntN(10_000), true
		for port := first; port < first+n; port++ {
			free = free && isFree(port)
		}
		if free {
			return first
		}
	}
	t.Fatal("no free ports in a row")
	return 0
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", address(port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}
