//go:build !race

package zkmeta

const manyPartitions = 10_000
