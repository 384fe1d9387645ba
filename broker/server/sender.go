package server

import (
	"errors"
	"net"
	"os"
	"syscall"

	"github.com/gracchus-mq/gracchus/internal/nowait"
)

// sender writes to a connection, to a plain TCP socket without garbage and without the
// scheduler's part in each call. One goroutine uses it at a time.
type sender struct {
	conn  net.Conn
	raw   syscall.RawConn // nil if conn is not a plain TCP socket
	touch func()          // something was written

	// What is under way, and its callbacks, which are made once: each returns false to
	// be called again when there is room.
	bytes  []byte
	more   bool
	file   uintptr
	offset int64
	left   int
	err    error // of a callback

	bytesOut, bytesNow, fileOut func(socket uintptr) (done bool)
	fileOpen                    func(file uintptr)
	cork, uncork                func(socket uintptr)
}

func (s *sender) init() {
	s.bytesOut = s.pushBytes
	s.bytesNow = func(socket uintptr) bool {
		s.pushBytes(socket)
		return true // there may be no room for the rest
	}
	s.fileOut = s.pushFile
	s.cork = func(socket uintptr) { nowait.Cork(socket, true) }
	s.uncork = func(socket uintptr) { nowait.Cork(socket, false) }
	s.fileOpen = func(file uintptr) {
		s.file = file
		if err := s.raw.Write(s.fileOut); err != nil {
			s.err = err
		}
	}
}

// send writes all of b. With more, bytes follow at once, so that the kernel need not
// send a small packet for these.
func (s *sender) send(b []byte, more bool) error {
	if len(b) == 0 {
		return nil
	}
	if s.raw == nil {
		_, err := s.conn.Write(b)
		s.touch()
		return err
	}
	s.bytes, s.more, s.err = b, more, nil
	err := s.raw.Write(s.bytesOut)
	s.bytes = nil
	if err != nil {
		return err
	}
	return s.err
}

// sendNow writes as much of b as there is room for, and says how much that was. raw must
// not be nil.
func (s *sender) sendNow(b []byte) (n int, err error) {
	s.bytes, s.more, s.err = b, false, nil
	err = s.raw.Write(s.bytesNow)
	n = len(b) - len(s.bytes)
	s.bytes = nil
	if err != nil {
		return n, err
	}
	return n, s.err
}

func (s *sender) pushBytes(socket uintptr) bool {
	for len(s.bytes) > 0 {
		n, err := nowait.Send(socket, s.bytes, s.more)
		if err != nil {
			return s.failed(err)
		}
		s.bytes = s.bytes[n:]
		s.touch()
	}
	return true
}

// together begins what is to leave in as few packets as can be, and apart ends it. The last
// bytes of a file would have a packet of their own, and what follows them another one, for
// which the client would be woken again.
func (s *sender) together() {
	if s.raw != nil {
		_ = s.raw.Control(s.cork) // it fails if the connection is closed
	}
}

func (s *sender) apart() {
	if s.raw != nil {
		_ = s.raw.Control(s.uncork)
	}
}

// sendFile lets the kernel send a piece of a file. The offset is explicit:
// net.TCPConn.ReadFrom would use and move the file's own position, which
// concurrent fetches share. Never more is asked for than is there.
func (s *sender) sendFile(file *os.File, offset int64, n int) error {
	src, err := file.SyscallConn()
	if err != nil {
		return err
	}
	s.offset, s.left, s.err = offset, n, nil
	if err := src.Control(s.fileOpen); err != nil { // keeps the file open meanwhile
		return err
	}
	if errors.Is(s.err, errFileEnded) {
		return truncated(n, n-s.left, nil)
	}
	return s.err
}

// errFileEnded: the file is shorter than what is to be sent of it.
var errFileEnded = errors.New("file ended")

func (s *sender) pushFile(socket uintptr) bool {
	for s.left > 0 {
		n, err := nowait.Sendfile(socket, s.file, s.offset, s.left)
		if err == nil && n == 0 {
			err = errFileEnded
		}
		if err != nil {
			return s.failed(err)
		}
		s.offset += int64(n)
		s.left -= n
		s.touch()
	}
	return true
}

// failed says whether a callback is at its end after an error.
func (s *sender) failed(err error) bool {
	if err == syscall.EAGAIN {
		return false
	}
	s.err = err
	return true
}
