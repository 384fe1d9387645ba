package vfs

import (
	"io"
	"maps"
	"slices"
)

const pageSize = 4096

// content is what is in a file. Pages that were never written are absent and
// read as zeros, so that Kafka's sparse index files cost nothing here either.
type content struct {
	pages map[int64]*[pageSize]byte
	size  int64
}

func (c *content) readAt(p []byte, off int64) (n int, err error) {
	if off >= c.size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	if rest := c.size - off; int64(len(p)) > rest {
		p, err = p[:rest], io.EOF
	}
	for n < len(p) {
		at := off + int64(n)
		in := at % pageSize
		k := min(len(p)-n, int(pageSize-in))
		if page := c.pages[at/pageSize]; page != nil {
			copy(p[n:n+k], page[in:])
		} else {
			clear(p[n : n+k])
		}
		n += k
	}
	return n, err
}

func (c *content) writeAt(p []byte, off int64) {
	if c.pages == nil {
		c.pages = map[int64]*[pageSize]byte{}
	}
	for n := 0; n < len(p); {
		at := off + int64(n)
		page := c.pages[at/pageSize]
		if page == nil || page == &zeros {
			page = new([pageSize]byte)
			c.pages[at/pageSize] = page
		}
		n += copy(page[at%pageSize:], p[n:])
	}
	c.size = max(c.size, off+int64(len(p)))
}

func (c *content) truncate(size int64) {
	if size < c.size {
		for i, page := range c.pages {
			switch start := i * pageSize; {
			case start >= size:
				delete(c.pages, i)
			case start+pageSize > size && page != &zeros:
				clear(page[size-start:])
			}
		}
	}
	c.size = size
}

func (c *content) clone() content {
	d := content{size: c.size, pages: maps.Clone(c.pages)}
	for i, page := range d.pages {
		if page != &zeros {
			p := *page
			d.pages[i] = &p
		}
	}
	return d
}

// zeros is the page of all blocks that were allocated and never written.
var zeros [pageSize]byte

// allocate gives the content all pages up to size.
func (c *content) allocate(size int64) {
	if c.pages == nil {
		c.pages = map[int64]*[pageSize]byte{}
	}
	for i := int64(0); i*pageSize < size; i++ {
		if c.pages[i] == nil {
			c.pages[i] = &zeros
		}
	}
	c.size = max(c.size, size)
}

func (op dataOp) apply(c *content) {
	switch {
	case op.allocate:
		c.allocate(op.off)
	case op.data == nil:
		c.truncate(op.off)
	default:
		c.writeAt(op.data, op.off)
	}
}

// cloneOps copies a list of operations; the data in it is never changed.
func cloneOps(ops []dataOp) []dataOp { return slices.Clone(ops) }
