//go:build race

package server

// raceEnabled: under the race detector sync.Pool drops buffers at random.
const raceEnabled = true
