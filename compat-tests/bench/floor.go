package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

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

// floor is the running process.
type floor struct {
	cmd   *exec.Cmd
	stdin io.Closer
	addr  string
	file  string
}

func startFloor(dir string) (*floor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &floor{file: filepath.Join(dir, "floor")}
	f.cmd = exec.Command(self, floorCommand, f.file)
	f.cmd.Stderr = os.Stderr
	if f.stdin, err = f.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := f.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the floor did not start: %w", err)
	}
	f.addr = strings.TrimSpace(line)
	return f, nil
}

func (f *floor) pid() int { return f.cmd.Process.Pid }

func (f *floor) stop() {
	f.stdin.Close()
	_ = f.cmd.Wait()
	_ = os.Remove(f.file)
}

func (f *floor) dial(conversation string) (net.Conn, error) {
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(loadLimit))
	if _, err := fmt.Fprintln(conn, conversation); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// floorInFlight is as many as an idempotent producer has.
const floorInFlight = 5

// write sends n frames of a size and waits for their replies.
func (f *floor) write(n, size int64) error {
	conn, err := f.dial("write")
	if err != nil {
		return err
	}
	defer conn.Close()
	frame := make([]byte, 4+size)
	binary.BigEndian.PutUint32(frame, uint32(size))
	for _, v := range makeValues(1<<10, 64) {
		for at := 4 + len(v); at < len(frame); at += 64 * len(v) {
			copy(frame[at:], v)
		}
	}
	window := make(chan struct{}, floorInFlight)
	read := make(chan error, 1)
	go func() {
		reply := make([]byte, 4+floorReply)
		for range n {
			if _, err := io.ReadFull(conn, reply); err != nil {
				conn.Close() // ends the writer
				read <- err
				return
			}
			<-window
		}
		read <- nil
	}()
	for range n {
		select {
		case window <- struct{}{}:
		case err := <-read:
			return err
		}
		if _, err := conn.Write(frame); err != nil {
			return err
		}
	}
	return <-read
}

// fill gives the file so many bytes to send.
func (f *floor) fill(bytes int64) error {
	file, err := os.OpenFile(f.file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Truncate(0); err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for ; bytes > 0; bytes -= int64(len(block)) {
		if _, err := file.Write(block); err != nil {
			return err
		}
	}
	return nil
}

// send asks for n responses of a size, one after the other as a consumer does.
func (f *floor) send(n, size int64) error {
	conn, err := f.dial(fmt.Sprintf("send %d", size))
	if err != nil {
		return err
	}
	defer conn.Close()
	response, request := make([]byte, 4+size), make([]byte, 4)
	for range n {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, response); err != nil {
			return err
		}
	}
	return nil
}
