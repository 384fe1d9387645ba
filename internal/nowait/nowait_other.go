//go:build !linux || !(amd64 || arm64)

package nowait

import "syscall"

// Supported says whether Pread, Pwrite and Sendfile do anything.
const Supported = false

// Read reads from a socket that does not block into p, which is not empty. It fails with
// EAGAIN if nothing is there; 0 bytes are the end.
func Read(socket uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(socket), p)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// setReceiveLowWater fails: not every system has it.
func setReceiveLowWater(uintptr, int) error { return syscall.ENOTSUP }

// Send writes the beginning of b, which is not empty, to a socket that does not block. It
// fails with EAGAIN if there is no room.
func Send(socket uintptr, b []byte, more bool) (int, error) {
	for {
		n, err := syscall.Write(int(socket), b)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// Cork does nothing here.
func Cork(socket uintptr, on bool) {}

// Pread is not available here.
func Pread(file uintptr, p []byte, offset int64) (int, error) { return 0, syscall.EOPNOTSUPP }

// Pwrite is not available here.
func Pwrite(file uintptr, p []byte, offset int64) (int, error) { return 0, syscall.EOPNOTSUPP }

// Sendfile is not available here.
func Sendfile(socket, file uintptr, offset int64, n int) (int, error) { return 0, syscall.EOPNOTSUPP }
