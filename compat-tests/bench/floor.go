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
	"strings"

	"golang.org/x/sys/unix"
)

// The floor is what a broker cannot do without: for a produce, to receive a
// frame, to checksum it and to write it to a file; for a fetch, to send a range
// of a file with sendfile. It is a process of its own, so that its processor
// time is measured as a broker's is, and has nothing in its loop but the system
// calls: one thread for a connection, which blocks in them.
//
// A conversation is a line: "write", followed by frames with four bytes of size in
// front, which are written from the start of the file on and each answered with one of
// floorReply bytes; or "serve TOPIC FOLDER", which is answered with a line, after which
// consumers find that partition at the second address; or "relay TOPIC", the same for an
// empty one, to which they can produce.

// floorCommand is the argument that makes this program the floor.
const floorCommand = "serve-floor"

// floorReply is as long as the answer to a Produce request with one partition.
const floorReply = 60

// serveFloor is the floor's process. Its argument is the file that it writes. It says on
// its standard output where it listens, for conversations and for clients, takes one
// conversation after the other, and ends with its standard input.
func serveFloor(args []string) error {
	if len(args) != 1 {
		return errors.New("one argument is needed: a file")
	}
	debug.SetGCPercent(-1)
	runtime.GOMAXPROCS(floorThreads)
	runtime.LockOSThread()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	forClients, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr(), forClients.Addr())
	s := &floorServer{listener: forClients}
	go func() {
		fmt.Fprintln(os.Stderr, "floor:", s.accept())
		os.Exit(1)
	}()
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
		if err := converse(conn, int(file.Fd()), buffer, s); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
}

// converse has one conversation.
func converse(conn net.Conn, file int, buffer []byte, s *floorServer) error {
	owned, err := blocking(conn)
	if err != nil {
		return err
	}
	defer owned.Close()
	socket := int(owned.Fd())
	var line []byte
	for one := make([]byte, 1); len(line) < 4096; line = append(line, one[0]) {
		if err := readFull(socket, one); err != nil {
			return err
		}
		if one[0] == '\n' {
			break
		}
	}
	switch words := strings.SplitN(string(line), " ", 3); {
	case words[0] == "write":
		return floorWrites(socket, file, buffer)
	case words[0] == "serve" && len(words) == 3:
		l, err := openFloorLog(words[2])
		if err != nil {
			return err
		}
		s.put(words[1], l)
		return send(socket, []byte("serving\n"), 0)
	case words[0] == "relay" && len(words) == 2:
		p, err := newFloorRelay()
		if err != nil {
			return err
		}
		s.put(words[1], p)
		return send(socket, []byte("serving\n"), 0)
	}
	return fmt.Errorf("unknown conversation %q", line)
}

// blocking takes the descriptor out of a connection; calls with it block.
func blocking(conn net.Conn) (*os.File, error) {
	owned, err := conn.(*net.TCPConn).File()
	conn.Close()
	if err == nil {
		err = unix.SetNonblock(int(owned.Fd()), false)
	}
	return owned, err
}

func floorWrites(socket, file int, buffer []byte) error {
	reply := make([]byte, 4+floorReply)
	binary.BigEndian.PutUint32(reply, floorReply)
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
		if err := writeAt(file, frame, end); err != nil {
			return err
		}
		end += int64(len(frame))
		if err := send(socket, reply, 0); err != nil {
			return err
		}
	}
}
