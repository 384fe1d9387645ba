package broker

import (
	"math"
	"testing"
	"time"
)

func TestMilliseconds(t *testing.T) {
	for ms, want := range map[int64]time.Duration{
		0:             0,
		60_000:        time.Minute,
		math.MaxInt64: math.MaxInt64 / time.Millisecond * time.Millisecond,
	} {
		if got := milliseconds(ms); got != want {
			t.Errorf("%d ms: %v, want %v", ms, got, want)
		}
	}
}
