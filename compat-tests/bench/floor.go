package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// The floor is what a broker cannot do without: for a produce, to receive a
// frame, to checksum it and to write it to a file; for a fetch, to send a range
// of a file with sendfile. It is a process of its own, so that its processor
// time is measured as a broker's is, and has nothing in its loop but the system
// calls: one thread, which blocks in them.
//
// A conversation is a line, "write" or "send N", followed by frames with four
// bytes of size in front. After "write" each frame is answered with one of
// floorReply bytes. After "send N" each frame of no bytes is answered with one of
// N bytes from the file; each response starts where the last one ended.

// floorCommand is the argument that makes this program the floor.
const floorCommand = "serve-floor"

// floorReply is as long as the answer to a Produce request with one partition.
const floorReply = 60

// serveFloor is the floor's process. Its argument is the file that it writes and
// reads. It says on its standard output where it listens, takes one conversation
// after the other, and ends with its standard input.
func serveFloor(args []string) error {
	if len(args) != 1 {
		return errors.New("one argument is needed: a file")
	}
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	file, err := os.OpenFile(args[0], os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	buffer := make([]byte, 2<<20)
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		if err := converse(conn.(*net.TCPConn), int(file.Fd()), buffer); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
}

// converse has one conversation, on a descriptor that blocks.
func converse(conn *net.TCPConn, file int, buffer []byte) error {
	blocking, err := conn.File()
	conn.Close()
	if err != nil {
		return err
	}
	defer blocking.Close()
	socket := int(blocking.Fd())
	var line []byte
	for one := make([]byte, 1); len(line) < 100; line = append(line, one[0]) {
		if err := readFull(socket, one); err != nil {
			return err
		}
		if one[0] == '\n' {
			break
		}
	}
	var n int
	if string(line) == "write" {
		return floorWrites(socket, file, buffer)
	}
	if _, err := fmt.Sscanf(string(line), "send %d", &n); err != nil {
		return fmt.Errorf("unknown conversation %q", line)
	}
	return floorSends(socket, file, n)
}

func floorWrites(socket, file int, buffer []byte) error {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	reply := make([]byte, 4+floorReply)
	binary.BigEndian.PutUint32(reply, floorReply)
	if err := unix.Ftruncate(file, 0); err != nil {
		return err
	}
	for end := int64(0); ; {
		if err := readFull(socket, buffer[:4]); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint32(buffer))
		if n > len(buffer) {
			return fmt.Errorf("a frame of %d bytes is more than %d", n, len(buffer))
		}
		frame := buffer[:n]
		if err := readFull(socket, frame); err != nil {
			return err
		}
		binary.BigEndian.PutUint32(reply[4:], crc32.Checksum(frame, castagnoli))
		written, err := unix.Pwrite(file, frame, end)
		if err != nil {
			return err
		}
		end += int64(written)
		if _, err := unix.Write(socket, reply); err != nil {
			return err
		}
	}
}

func floorSends(socket, file, n int) error {
	size := make([]byte, 4)
	for offset := int64(0); ; {
		if err := readFull(socket, size); err != nil {
			return err
		}
		binary.BigEndian.PutUint32(size, uint32(n))
		if err := unix.Send(socket, size, unix.MSG_MORE); err != nil {
			return err
		}
		for left := n; left > 0; {
			sent, err := unix.Sendfile(socket, file, &offset, left)
			if err != nil {
				return err
			}
			if sent == 0 {
				return fmt.Errorf("the file ends at %d", offset)
			}
			left -= sent
		}
	}
}

func readFull(socket int, into []byte) error {
	for len(into) > 0 {
		n, err := unix.Read(socket, into)
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
