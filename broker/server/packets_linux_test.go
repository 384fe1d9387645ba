package server

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gracchus-mq/gracchus/internal/nowait"
	"github.com/gracchus-mq/gracchus/protocol"
)

// What follows the bytes of a file leaves with the last of them: a response takes no more
// packets than it has bytes for.
func TestResponseWithFileLeavesTogether(t *testing.T) {
	if !nowait.Supported {
		t.Skip("sendfile is not used here")
	}
	const size = 100 << 10
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := start(t, "tcp", Config{}, Listener{}, Route{Key: protocol.Fetch, Max: 4, Handle: func(_ context.Context, r *Request) error {
		p := r.NewReply()
		p.Buf = append(p.Buf, "before"...)
		if err := p.AppendRange(Range{File: diskFile{f}, Len: size, Owner: onRelease(func() {})}); err != nil {
			t.Error(err)
		}
		p.Buf = append(p.Buf, "after"...)
		r.Send(p)
		return nil
	}})
	c := h.dial()
	request := frame(protocol.Fetch, 4, 0, "")
	fewest, bytes, mss := uint32(1<<31), 0, 0
	// A kernel that finds a packet waiting for 0.2 s sends it, so that one response on a busy
	// machine says nothing; without what is tested here every one takes a packet too many.
	for range 20 {
		before := tcpInfo(t, c).Data_segs_in
		write(t, c, request)
		_, body := read(t, c)
		after := tcpInfo(t, c)
		const sizeAndCorrelation = 8
		fewest, bytes, mss = min(fewest, after.Data_segs_in-before), sizeAndCorrelation+len(body), int(after.Rcv_mss)
	}
	if needed := uint32((bytes + mss - 1) / mss); fewest > needed {
		t.Errorf("a response of %d bytes came in %d packets of at most %d, at the least; %d are needed", bytes, fewest, mss, needed)
	}
}

func tcpInfo(t *testing.T, c net.Conn) *unix.TCPInfo {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	if cerr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return info
}
