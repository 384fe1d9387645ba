//go:build linux && (amd64 || arm64)

package nowait

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockets returns two connected sockets that do not block.
func sockets(t *testing.T) (a, b uintptr) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
	return uintptr(pair[0]), uintptr(pair[1])
}

func TestSocket(t *testing.T) {
	a, b := sockets(t)
	in := make([]byte, 16)
	if n, err := Read(b, in); n != 0 || err != syscall.EAGAIN {
		t.Errorf("nothing sent: %d, %v", n, err)
	}
	for _, more := range []bool{true, false} {
		if n, err := Send(a, []byte("hello"), more); n != 5 || err != nil {
			t.Fatal(n, err)
		}
	}
	if n, err := Read(b, in); err != nil || string(in[:n]) != "hellohello" {
		t.Errorf("%q, %v", in[:n], err)
	}
	for {
		n, err := Send(a, make([]byte, 64<<10), false)
		if err == syscall.EAGAIN {
			break
		}
		if n <= 0 || err != nil {
			t.Fatal(n, err)
		}
	}
	unix.Shutdown(int(b), unix.SHUT_RD)
	if n, err := Send(a, []byte("x"), false); n != 0 || err != syscall.EPIPE {
		t.Errorf("nobody reads: %d, %v", n, err)
	}
	unix.Shutdown(int(b), unix.SHUT_WR)
	if n, err := Read(a, in); n != 0 || err != nil {
		t.Errorf("the end: %d, %v", n, err)
	}
}

// newFile returns a file with so many bytes, and them.
func newFile(t *testing.T, dir string, n int) (*os.File, []byte) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	content := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(content)
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	return f, content
}

// evict has the kernel forget what it has cached of a file, and reports whether it has:
// a file system in memory does not, nor is a page that still is in a socket forgotten.
func evict(t *testing.T, f *os.File) bool {
	t.Helper()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	content, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(content)
	pages := make([]byte, (len(content)+os.Getpagesize()-1)/os.Getpagesize())
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&content[0])), uintptr(len(content)), uintptr(unsafe.Pointer(&pages[0]))); errno != 0 {
		t.Fatal(errno)
	}
	return !slices.ContainsFunc(pages, func(p byte) bool { return p&1 != 0 })
}

func TestPread(t *testing.T) {
	f, content := newFile(t, t.TempDir(), 100_000)
	got := make([]byte, 50_000)
	n, err := Pread(f.Fd(), got, 10_000)
	if err == syscall.EOPNOTSUPP {
		t.Skip("the file system cannot tell")
	}
	if err != nil || n == 0 || !bytes.Equal(got[:n], content[10_000:10_000+n]) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if n, err := Pread(f.Fd(), got, 99_990); n != 10 || err != nil {
		t.Errorf("near the end: %d bytes, %v", n, err)
	}
	if n, err := Pread(f.Fd(), got, 100_000); n != 0 || err != nil {
		t.Errorf("at the end: %d bytes, %v", n, err)
	}
	// Linux begins to read what is missing, and looks once more before it gives up: a fast
	// disk may be done by then, but not always. A read that waits never gives up.
	for range 100 {
		if !evict(t, f) {
			t.Skip("the file system keeps the file in memory")
		}
		n, err := Pread(f.Fd(), got, 10_000)
		if n == 0 && err == syscall.EAGAIN {
			return
		}
		if err != nil || !bytes.Equal(got[:n], content[10_000:10_000+n]) {
			t.Fatalf("not cached: %d bytes, %v", n, err)
		}
	}
	t.Error("it waits for what is not cached")
}

// TestSendfile sends ranges of a file, cached and not, of which the last goes over its end.
func TestSendfile(t *testing.T) {
	for _, cold := range []bool{false, true} {
		f, content := newFile(t, t.TempDir(), 3*maxPiece+17)
		for _, r := range []struct{ offset, n int }{{0, 1}, {5, 2*probeDistance + 1}, {100, len(content) - 100}, {len(content) - 10, 30}} {
			if cold {
				evict(t, f)
			}
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			got := make(chan []byte)
			go func() {
				c, err := listener.Accept()
				if err != nil {
					got <- nil
					return
				}
				all, _ := io.ReadAll(c)
				got <- all
			}()
			c, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			raw, _ := c.(*net.TCPConn).SyscallConn()
			done := 0
			err = raw.Write(func(socket uintptr) bool {
				for done < r.n {
					n, err := Sendfile(socket, f.Fd(), int64(r.offset+done), r.n-done)
					if err == syscall.EAGAIN {
						return false
					}
					if err != nil {
						t.Error(err)
						return true
					}
					if n == 0 {
						break
					}
					done += n
				}
				return true
			})
			c.Close()
			want := content[r.offset:min(len(content), r.offset+r.n)]
			if all := <-got; err != nil || !bytes.Equal(all, want) {
				t.Errorf("cold %v, %d bytes at %d: %d arrived, %v", cold, r.n, r.offset, len(all), err)
			}
			listener.Close()
		}
	}
}

// TestSendfileLooksAtTheCache: where the disk would have to be waited for, the scheduler
// is to be told.
func TestSendfileLooksAtTheCache(t *testing.T) {
	f, content := newFile(t, t.TempDir(), 1<<20)
	if _, err := Pread(f.Fd(), make([]byte, 1), 0); err == syscall.EOPNOTSUPP {
		t.Skip("the file system cannot tell")
	}
	if !cached(f.Fd(), 0, len(content)) {
		t.Error("just written, and not cached")
	}
	if !evict(t, f) {
		t.Skip("the file system keeps the file in memory")
	}
	if cached(f.Fd(), 0, len(content)) {
		t.Error("evicted, and cached")
	}
	f.ReadAt(make([]byte, 1), 0) // and what the kernel reads ahead
	if !cached(f.Fd(), 0, 1) || cached(f.Fd(), 0, len(content)) {
		t.Error("the beginning is cached, not the whole")
	}
	if cached(f.Fd(), int64(len(content))-10, 11) {
		t.Error("what is behind the end is not cached")
	}
}
