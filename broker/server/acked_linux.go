package server

import "golang.org/x/sys/unix"

// acked is how many bytes the peer has taken, 0 if that cannot be known.
func (c *conn) acked() (n uint64) {
	if c.sender.raw == nil {
		return 0
	}
	c.sender.raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Bytes_acked
		}
	})
	return n
}
