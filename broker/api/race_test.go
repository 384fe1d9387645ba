//go:build race

package api

// raceEnabled: under the race detector sync.Pool drops buffers at random.
const raceEnabled = true
