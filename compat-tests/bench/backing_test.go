package main

import (
	"os"
	"testing"
)

func TestBackFreeMemory(t *testing.T) {
	before, err := memoryOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const more = 64e6
	if err := backFreeMemory(int64(before.peak) + more); err != nil {
		t.Fatal(err)
	}
	after, err := memoryOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after.peak < before.peak+more {
		t.Errorf("at the most %d bytes were resident, %d before: not all pages were touched", after.peak, before.peak)
	}
	if after.resident > before.peak+more {
		t.Errorf("%d bytes are resident: what was taken was not given back", after.resident)
	}
	if err := backFreeMemory(1 << 60); err == nil {
		t.Error("took more memory than there is")
	}
}
