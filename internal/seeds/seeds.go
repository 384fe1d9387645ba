// Package seeds lets the environment choose the seeds of random tests.
package seeds

import (
	"os"
	"strconv"
	"testing"

	"github.com/gracchus-mq/gracchus/internal/race"
)

// PowerLoss returns with which seed a test of power losses begins and how many it tries:
// what it says itself (under the race detector a part of it: race.Every), unless
// GRACCHUS_POWERLOSS_FROM and GRACCHUS_POWERLOSS_SEEDS do.
func PowerLoss(t *testing.T, from, n uint64) (uint64, uint64) {
	t.Helper()
	if os.Getenv("GRACCHUS_POWERLOSS_SEEDS") == "" {
		n /= uint64(race.Every(t))
	}
	return number(t, "GRACCHUS_POWERLOSS_FROM", from), number(t, "GRACCHUS_POWERLOSS_SEEDS", n)
}

// Cluster is PowerLoss for tests of clusters: GRACCHUS_CLUSTER_FROM and
// GRACCHUS_CLUSTER_SEEDS.
func Cluster(t *testing.T, from, n uint64) (uint64, uint64) {
	t.Helper()
	return number(t, "GRACCHUS_CLUSTER_FROM", from), number(t, "GRACCHUS_CLUSTER_SEEDS", n)
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q is no number; give one, as 300: %v", name, text, err)
	}
	return n
}
