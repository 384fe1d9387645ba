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
	"time"
)

// floor is the running process.
type floor struct {
	cmd   *exec.Cmd
	stdin io.Closer
	addr  string
	file  string // that it writes
	kafka string // address for clients
}

func startFloor(dir string) (*floor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &floor{file: filepath.Join(dir, "floor")}
	f.cmd = exec.Command(self, floorCommand, f.file)
	f.cmd.Stderr = os.Stderr
	f.cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1")
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
	_, err = fmt.Sscan(line, &f.addr, &f.kafka)
	return f, err
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

// empty removes what the floor has written. Like the deletion of a broker's topic it is not
// part of what is measured.
func (f *floor) empty() error { return os.Truncate(f.file, 0) }

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

// serve has consumers find a partition, in the folder of a broker that has written it.
func (f *floor) serve(topic, folder string) error {
	return f.put(fmt.Sprintf("serve %s %s", topic, folder))
}

// relay has clients find an empty partition.
func (f *floor) relay(topic string) error { return f.put("relay " + topic) }

func (f *floor) put(partition string) error {
	conn, err := f.dial(partition)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		return fmt.Errorf("the floor does not %s: %w", partition, err)
	}
	return nil
}

func (f *floor) spent(do func() error) (time.Duration, error) { return spent([]int{f.pid()}, do) }
