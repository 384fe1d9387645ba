//go:build race

package zkmeta

// manyPartitions is less under the race detector, which makes everything slower.
const manyPartitions = 1000
