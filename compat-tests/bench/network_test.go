package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestWithoutPacing has this program look for paced TCP and for the loopback interface: where
// TCP is paced it begins anew without.
func TestWithoutPacing(t *testing.T) {
	const inside = "GRACCHUS_BENCH_TEST_WITHOUT_PACING"
	if os.Getenv(inside) == "" {
		again := exec.Command(os.Args[0], "-test.run=^TestWithoutPacing$", "-test.v")
		again.Env = append(os.Environ(), inside+"=1")
		out, err := again.CombinedOutput()
		if strings.Contains(string(out), "--- SKIP") {
			t.Skipf("%s", out)
		}
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	before := congestionControlled()
	if err := withoutPacing(); err != nil {
		t.Skipf("TCP is paced, and no other can be had: %v", err)
	}
	// A second time there is nothing to do, here or in the program that has begun anew.
	if after := congestionControlled(); paced(after) || after != before || after == "" {
		t.Errorf("TCP is controlled by %q, before by %q", after, before)
	}
	f, err := startFloor(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.stop()
	if err := f.write(1, 100); err != nil {
		t.Errorf("the loopback interface: %v", err)
	}
}
