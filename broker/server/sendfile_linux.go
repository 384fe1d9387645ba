package server

import (
	"errors"
	"os"
	"syscall"
)

// sendfileStep bounds one call, so that progress is seen by the idle check.
const sendfileStep = 4 << 20

// sendfile lets the kernel send a piece of a file. The offset is explicit:
// net.TCPConn.ReadFrom would use and move the file's own position, which
// concurrent fetches share. Never more is asked for than is there.
func (c *conn) sendfile(file *os.File, offset int64, n int) error {
	src, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr, waitErr error
	done := 0
	err = src.Control(func(in uintptr) { // keeps the file open meanwhile
		waitErr = c.raw.Write(func(out uintptr) bool {
			for done < n {
				at := offset + int64(done)
				sent, err := syscall.Sendfile(int(out), int(in), &at, min(n-done, sendfileStep))
				switch {
				case err == syscall.EAGAIN:
					return false
				case err == syscall.EINTR:
					continue
				case err != nil:
					sendErr = err
					return true
				case sent == 0:
					sendErr = truncated(n, done, nil)
					return true
				}
				done += sent
				c.touch()
			}
			return true
		})
	})
	return errors.Join(err, waitErr, sendErr)
}

// writeMore sends bytes that more will follow at once, so that the kernel does
// not send a small packet for them.
func (c *conn) writeMore(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if c.raw == nil {
		_, err := c.net.Write(b)
		return err
	}
	var sendErr error
	err := c.raw.Write(func(fd uintptr) bool {
		for len(b) > 0 {
			n, err := syscall.SendmsgN(int(fd), b, nil, nil, syscall.MSG_MORE|syscall.MSG_NOSIGNAL)
			switch {
			case err == syscall.EAGAIN:
				return false
			case err == syscall.EINTR:
				continue
			case err != nil:
				sendErr = err
				return true
			}
			b = b[n:]
		}
		return true
	})
	if err != nil {
		return err
	}
	return sendErr
}
