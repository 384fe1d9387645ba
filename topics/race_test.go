//go:build race

package topics_test

// slow is how many times longer the race detector makes things take.
const slow = 5
