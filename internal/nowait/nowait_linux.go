//go:build linux && (amd64 || arm64)

package nowait

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Supported says whether Pread, Pwrite and Sendfile do anything.
const Supported = true

// Read reads from a socket that does not block into p, which is not empty. It fails with
// EAGAIN if nothing is there; 0 bytes are the end.
func Read(socket uintptr, p []byte) (int, error) {
	for {
		n, err := read(socket, p[:min(len(p), maxPiece)])
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// setReceiveLowWater has a TCP socket call itself readable only when n bytes are there, n > 0,
// or nothing will come any more. The kernel makes the socket's buffer large enough for twice
// as many.
func setReceiveLowWater(socket uintptr, n int) error {
	value := int32(n)
	_, _, errno := syscall.RawSyscall6(syscall.SYS_SETSOCKOPT, socket, syscall.SOL_SOCKET, syscall.SO_RCVLOWAT,
		uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value), 0)
	_, err := result(0, errno)
	return err
}

// Send writes the beginning of b, which is not empty, to a socket that does not block. It
// fails with EAGAIN if there is no room. With more, the kernel may wait for what follows
// before it sends a packet that is not full.
func Send(socket uintptr, b []byte, more bool) (int, error) {
	flags := unix.MSG_NOSIGNAL
	if more {
		flags |= unix.MSG_MORE
	}
	for {
		n, err := send(socket, b[:min(len(b), maxPiece)], flags)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// Cork has a socket keep a packet that is not full for what comes next, until it is undone,
// which sends it. Unlike Send with more it holds for Sendfile, too.
func Cork(socket uintptr, on bool) {
	var value int32
	if on {
		value = 1
	}
	// It fails for no TCP socket, and would only cost a packet.
	_, _, _ = syscall.RawSyscall6(syscall.SYS_SETSOCKOPT, socket, unix.IPPROTO_TCP, unix.TCP_CORK, uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value), 0)
}

// Pread reads from a file at an offset into p, which is not empty. It fails with EAGAIN if
// the disk would have to be waited for, and with EOPNOTSUPP if the file system cannot tell.
func Pread(file uintptr, p []byte, offset int64) (int, error) {
	p = p[:min(len(p), maxPiece)]
	vector := unix.Iovec{Base: &p[0]}
	vector.SetLen(len(p))
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_PREADV2, file, uintptr(unsafe.Pointer(&vector)), 1,
			uintptr(offset), 0, unix.RWF_NOWAIT)
		runtime.KeepAlive(p)
		if errno != syscall.EINTR {
			return result(n, errno)
		}
	}
}

// Pwrite writes p, which is not empty, to a file at an offset: that is, copies it to the page
// cache. The kernel makes a writer wait if too much is there that the disk has yet to take,
// and only some file systems can be told to fail instead. So the caller has to watch how
// long this takes, and to leave it for as long as the disk is slow. More than maxPiece bytes
// are written in part.
func Pwrite(file uintptr, p []byte, offset int64) (int, error) {
	p = p[:min(len(p), maxPiece)]
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_PWRITE64, file, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), uintptr(offset), 0, 0)
		if errno != syscall.EINTR {
			return result(n, errno)
		}
	}
}

// Sendfile sends at most n bytes of a file, n > 0, to a socket that does not block. It
// fails with EAGAIN if there is no room; 0 bytes are the end of the file. It does wait for
// the disk, and then tells the scheduler, if they do not seem to be in the page cache.
func Sendfile(socket, file uintptr, offset int64, n int) (int, error) {
	n = min(n, maxPiece)
	for {
		var sent int
		var err error
		if cached(file, offset, n) {
			sent, err = sendfile(socket, file, offset, n)
		} else {
			at := offset
			sent, err = syscall.Sendfile(int(socket), int(file), &at, n)
		}
		if err != syscall.EINTR {
			return max(sent, 0), err
		}
	}
}

// probeDistance is how far apart bytes are that are looked for in the page cache: a probe
// takes two thirds of a microsecond, and sending so many bytes a hundred. The kernel reads
// and forgets files from front to back. Where bytes are missing between two that are cached
// all the same, a thread waits for the disk and the scheduler is not told.
const probeDistance = 512 << 10

// cached reports whether a range of a file seems to be in the page cache.
func cached(file uintptr, offset int64, n int) bool {
	var b [1]byte
	for at := offset; at < offset+int64(n); at += probeDistance {
		if got, err := Pread(file, b[:], at); got != 1 || err != nil {
			return false
		}
	}
	got, err := Pread(file, b[:], offset+int64(n)-1)
	return got == 1 && err == nil
}

func result(n uintptr, errno syscall.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
