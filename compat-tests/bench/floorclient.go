package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

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
