//go:build linux && (amd64 || arm64) && !race

package nowait

import (
	"syscall"
	"unsafe"
)

func read(socket uintptr, p []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, socket, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return result(n, errno)
}

func send(socket uintptr, b []byte, flags int) (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, socket, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(flags), 0, 0)
	return result(n, errno)
}

func sendfile(socket, file uintptr, offset int64, n int) (int, error) {
	sent, _, errno := syscall.RawSyscall6(syscall.SYS_SENDFILE, socket, file, uintptr(unsafe.Pointer(&offset)), uintptr(n), 0, 0)
	return result(sent, errno)
}
