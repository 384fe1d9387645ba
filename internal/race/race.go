// Package race is for tests that the race detector gets in the way of, or makes much
// slower.
package race

import "testing"

// Every returns of how many cases a test tries one: of each, or under the race detector,
// which makes what only computes take five to ten times as long, of five. Such a test
// counts as skipped in part then, and scripts/test runs it without the detector too, with
// all its cases.
func Every(t *testing.T) int {
	t.Helper()
	if !Enabled {
		return 1
	}
	t.Run("all cases", func(t *testing.T) { t.Skip("the race detector makes them slow: one of five is tried") })
	return 5
}

// Skip leaves a test out under the race detector, for the reason given. scripts/test runs
// it without.
func Skip(t *testing.T, reason string) {
	t.Helper()
	if Enabled {
		t.Skip(reason)
	}
}
