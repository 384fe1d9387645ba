//go:build !linux

package server

import "os"

// sendfile copies where the kernel's own way is not used.
func (c *conn) sendfile(file *os.File, offset int64, n int) error {
	return c.copyRange(&Range{File: file, Offset: offset, Len: n})
}

func (c *conn) writeMore(b []byte) error {
	_, err := c.net.Write(b)
	return err
}
