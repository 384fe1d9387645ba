package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// backFreeMemory sees to it that so many bytes of the memory that is free can be had at the
// usual price: it takes them, touches each page, and gives them back. A virtual machine may
// return memory to its host a few seconds after it has become free. The first write to such
// a page waits until the host gives another, which is counted as processor time of who
// writes: to fill the page cache then costs several times as much as everything else that a
// broker does with large batches, once in a while, whoever's turn it is.
func backFreeMemory(bytes int64) error {
	taken, err := unix.Mmap(-1, 0, int(bytes), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return fmt.Errorf("take %d MB of memory: %w", bytes/1e6, err)
	}
	return unix.Munmap(taken)
}
