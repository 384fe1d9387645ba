// Package compat drives running brokers from outside, with the clients that
// people use.
package compat

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	harness.StopShared()
	removeCompiled()
	os.Exit(code)
}

// The records of each topic that clients write, as clients/ has it too.
const (
	partitions = 3
	count      = 120
)

var codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// onTargets runs a test on each broker that COMPAT_TARGETS names, beside each other and
// beside other tests: all of them wait, most of the time.
func onTargets(t *testing.T, test func(t *testing.T, b *harness.Broker)) {
	t.Helper()
	t.Parallel()
	for _, target := range harness.Targets(t) {
		t.Run(target.Name, func(t *testing.T) {
			t.Parallel()
			test(t, startTarget(t, target, harness.Options{}))
		})
	}
}

func startTarget(t *testing.T, target harness.Target, o harness.Options) *harness.Broker {
	t.Helper()
	if *recordTraffic != "" {
		return startRecorded(t, target, o)
	}
	return target.Start(t, o)
}

func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// waitUntil polls what a broker says until it is so.
func waitUntil(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after 20 s: %s", what)
		}
	}
}
