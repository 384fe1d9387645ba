package main

import (
	"fmt"
	"io"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The floor's calls wait in the kernel without telling Go's scheduler, whose monitor would
// wake a thread for each: that is no part of what every broker needs. So each of its
// threads keeps one of GOMAXPROCS for itself, and nothing may interrupt them: there is no
// collection of garbage (see serveFloor) and no preemption (see startFloor).

// floorThreads is more than there are connections at a time.
const floorThreads = 64

// call makes a system call. What its arguments point to stays where it is meanwhile.
//
//go:uintptrescapes
func call(number, a, b, c, d uintptr) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(number, a, b, c, d, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

func readFull(socket int, into []byte) error {
	for len(into) > 0 {
		n, err := call(unix.SYS_READ, uintptr(socket), uintptr(unsafe.Pointer(&into[0])), uintptr(len(into)), 0)
		if err != nil {
			return err
		}
		if n == 0 {
			return io.EOF
		}
		into = into[n:]
	}
	return nil
}

func send(socket int, b []byte, flags int) error {
	for len(b) > 0 {
		n, err := call(unix.SYS_SENDTO, uintptr(socket), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(flags|unix.MSG_NOSIGNAL))
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func sendFile(socket, file int, offset int64, left int) error {
	for left > 0 {
		n, err := call(unix.SYS_SENDFILE, uintptr(socket), uintptr(file), uintptr(unsafe.Pointer(&offset)), uintptr(left))
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("the file ends at %d, and %d bytes more were to be sent", offset, left)
		}
		left -= n
	}
	return nil
}

func writeAt(file int, b []byte, offset int64) error {
	for len(b) > 0 {
		n, err := call(unix.SYS_PWRITE64, uintptr(file), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(offset))
		if err != nil {
			return err
		}
		b, offset = b[n:], offset+int64(n)
	}
	return nil
}
