//go:build linux && (amd64 || arm64) && race

package nowait

import "syscall"

// What is done before something is sent comes before what is done once it is received.
// Package syscall tells the race detector so, and raw calls do not.

func read(socket uintptr, p []byte) (int, error) { return syscall.Read(int(socket), p) }

// Of all calls that send, only Write tells; the flags are an optimization.
func send(socket uintptr, b []byte, _ int) (int, error) { return syscall.Write(int(socket), b) }

func sendfile(socket, file uintptr, offset int64, n int) (int, error) {
	return syscall.Sendfile(int(socket), int(file), &offset, n)
}
