//go:build !race

package topics_test

const slow = 1
