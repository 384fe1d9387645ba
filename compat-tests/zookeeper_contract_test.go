package compat

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

// TestZooKeeperContract runs what Python's kazoo expects of a ZooKeeper on the
// embedded one, through a broker that opens it to tools, and on Apache's.
func TestZooKeeperContract(t *testing.T) {
	python := harness.Fetch(t, "python")
	contract := func(t *testing.T, address string) {
		cmd := exec.Command(python, "zookeeper/contract_test.py")
		cmd.Env = append(os.Environ(), "ZOOKEEPER_CONNECT="+address)
		t.Log(harness.Run(t, 2*time.Minute, cmd))
	}
	t.Run("embedded", func(t *testing.T) {
		address := fmt.Sprintf("127.0.0.1:%d", harness.FreePort(t))
		harness.StartGracchus(t, harness.Options{Properties: []string{"gracchus.zookeeper.listen=" + address}})
		contract(t, address)
	})
	t.Run("Apache", func(t *testing.T) {
		address, _, _ := strings.Cut(harness.ZooKeeper(t), "/")
		contract(t, address)
	})
}
