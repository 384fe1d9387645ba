package harness

import (
	"os"
	"strconv"
	"testing"
)

// FromEnvironment is a number that the environment may choose, as how long a test goes on
// or its seed.
func FromEnvironment(t *testing.T, name string, otherwise int) int {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		return otherwise
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
