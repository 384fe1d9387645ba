package server

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/gracchus-mq/gracchus/internal/nowait"
)

// osFile is what a log file must offer for the kernel to send it.
type osFile interface{ OSFile() *os.File }

func putInt32(b []byte, v int32) { binary.BigEndian.PutUint32(b, uint32(v)) }

// write sends replies in order. Called by the reader when nothing is
// outstanding, else by the flusher: never by both at once. An error closes the
// connection.
func (c *conn) write(replies []*Reply) error {
	// Only replies of one key go out together.
	if unsent := replies[0].unsent; unsent.begin(c, replies) {
		defer unsent.end(c)
	}
	err := c.writeAll(replies)
	if err != nil {
		c.close()
	} else if !c.answered.Load() {
		c.answered.Store(true)
	}
	return err
}

// writeNow writes as much of a reply as the socket takes at once, for whoever has made it
// in a goroutine that must not block. An error closes the connection.
func (c *conn) writeNow(p *Reply) (all bool, err error) {
	if c.sender.raw == nil || len(p.files) > 0 {
		return false, nil
	}
	if err = p.seal(); err == nil {
		p.sent, err = c.sender.sendNow(p.Buf)
	}
	if err != nil {
		c.close()
		return false, err
	}
	if !c.answered.Load() {
		c.answered.Store(true)
	}
	return p.sent == len(p.Buf), nil
}

func (c *conn) writeAll(replies []*Reply) error {
	for i := 0; i < len(replies); {
		if err := replies[i].seal(); err != nil {
			return err
		}
		if len(replies[i].files) > 0 {
			if err := c.writeWithFiles(replies[i]); err != nil {
				return err
			}
			i++
			continue
		}
		// As many replies without file ranges as follow one another.
		j := i + 1
		for j < len(replies) && len(replies[j].files) == 0 {
			if err := replies[j].seal(); err != nil {
				return err
			}
			j++
		}
		if err := c.writeBytes(replies[i:j]); err != nil {
			return err
		}
		i = j
	}
	return nil
}

func (c *conn) writeBytes(replies []*Reply) error {
	if len(replies) == 1 {
		return c.sender.send(replies[0].Buf[replies[0].sent:], false)
	}
	defer c.touch()
	vectors := make(net.Buffers, len(replies))
	for i, p := range replies {
		vectors[i] = p.Buf[p.sent:]
	}
	_, err := vectors.WriteTo(c.net) // one writev on a TCP socket
	return err
}

func (c *conn) writeWithFiles(p *Reply) error {
	sent := 0
	if p.files[len(p.files)-1].at < len(p.Buf) {
		c.sender.together()
		defer c.sender.apart()
	}
	for _, f := range p.files {
		if err := c.sender.send(p.Buf[sent:f.at], true); err != nil {
			return err
		}
		sent = f.at
		if err := c.writeRange(&f.Range); err != nil {
			return err
		}
	}
	return c.sender.send(p.Buf[sent:], false)
}

// writeRange sends a piece of a file, by sendfile where that works.
func (c *conn) writeRange(f *Range) error {
	if nowait.Supported && c.sender.raw != nil {
		if src, ok := f.File.(osFile); ok {
			if file := src.OSFile(); file != nil {
				return c.sender.sendFile(file, f.Offset, f.Len)
			}
		}
	}
	return c.copyRange(f)
}

// copyRange sends a piece of a file through memory.
func (c *conn) copyRange(f *Range) error {
	b := c.srv.pool.get(min(f.Len, sendfileThreshold))
	defer c.srv.pool.put(b)
	for done := 0; done < f.Len; {
		piece := b.b[:min(len(b.b), f.Len-done)]
		n, err := f.File.ReadAt(piece, f.Offset+int64(done))
		if n < len(piece) {
			return truncated(f.Len, done+n, err)
		}
		if err := c.sender.send(piece, false); err != nil {
			return err
		}
		done += len(piece)
	}
	return nil
}

// truncated says that a file lost bytes while they were sent. The size of the
// reply has been announced, so only closing the connection is left.
func truncated(want, got int, err error) error {
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("log file ended after %d of %d bytes to send: %w", got, want, err)
}
