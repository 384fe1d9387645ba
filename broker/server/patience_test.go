//go:build linux

package server

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
)

// While the rest of a large frame is missing its reader is not woken for less, and
// afterwards for any byte again.
func TestReaderIsPatient(t *testing.T) {
	h := start(t, "tcp", Config{}, Listener{}, Route{Key: protocol.Produce, Max: 8, Bulk: true, Handle: echo})
	c := h.dial()
	body := strings.Repeat("x", 600<<10)
	for i := range int32(2) {
		bytes := frame(protocol.Produce, 1, i, body)
		half := len(bytes) / 2
		for at := 0; at < half; at += 8 << 10 {
			if _, err := c.Write(bytes[at:min(at+8<<10, half)]); err != nil {
				t.Fatal(err)
			}
		}
		lowWaterBecomes(t, h, "that of a large frame", func(n int) bool { return n >= 64<<10 })
		if _, err := c.Write(bytes[half:]); err != nil {
			t.Fatal(err)
		}
		expect(t, c, i, body)
		lowWaterBecomes(t, h, "1", func(n int) bool { return n == 1 })
		write(t, c, frame(protocol.Produce, 1, 7, "y"))
		expect(t, c, 7, "y")
	}
}

// lowWaterBecomes waits until the only connection's socket calls itself readable with as
// many bytes as it should.
func lowWaterBecomes(t *testing.T, h *harness, what string, is func(bytes int) bool) {
	t.Helper()
	for end := time.Now().Add(testWait); ; time.Sleep(time.Millisecond) {
		got := -1
		for _, c := range h.srv.conns.all(nil) {
			err := c.frames.raw.Control(func(fd uintptr) {
				got, _ = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if is(got) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the reader is woken for %d bytes, want %s", got, what)
		}
	}
}
