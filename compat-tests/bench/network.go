package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// congestionControl is a file of the kernel, of which each network has its own: it says what
// decides how fast TCP sends, if a program does not say otherwise.
const congestionControl = "/proc/sys/net/ipv4/tcp_congestion_control"

// paced reports whether TCP, of such a name, sends packets one after the other in time, as
// fast as it takes the way to be. BBR does. Between two programs on one machine that is wrong
// by any factor: timers and waits come in, for a time, and double what a broker takes.
func paced(control string) bool { return strings.HasPrefix(control, "bbr") }

func congestionControlled() string {
	content, _ := os.ReadFile(congestionControl)
	return strings.TrimSpace(string(content))
}

// withoutPacing has this program begin anew in a network of its own, which has nothing but the
// loopback interface and sends with Reno, if this one's TCP is paced; it then does not return.
// It takes the superuser's rights. The error says why it has not been done.
func withoutPacing() error {
	if !paced(congestionControlled()) {
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	failed := make(chan error)
	go func() {
		// The thread is in the new network, and so is what it executes. If that fails it ends
		// with the goroutine, and all others are where they were.
		runtime.LockOSThread()
		failed <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("a network of its own: %w", err)
			}
			if err := unpacedLoopback(); err != nil {
				return err
			}
			return syscall.Exec(program, os.Args, os.Environ())
		}()
	}()
	return <-failed
}

// unpacedLoopback makes a new network usable.
func unpacedLoopback() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	loopback, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	loopback.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, loopback); err != nil {
		return fmt.Errorf("the loopback interface: %w", err)
	}
	// Cubic, which most machines have, may not be had in a new network everywhere. On the
	// loopback interface, where nothing is lost, the two are alike.
	if err := os.WriteFile(congestionControl, []byte("reno"), 0); err != nil {
		return err
	}
	if control := congestionControlled(); control != "reno" {
		return errors.New("TCP goes on with " + control)
	}
	return nil
}
