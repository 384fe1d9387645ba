package server

import "sync"

// chunkSize is the smallest buffer: what a connection reads into when bytes are
// ready. Most frames fit, and several small ones that were pipelined fit
// together.
const chunkSize = 8 << 10

// sizeClasses are the capacities of pooled buffers. One pool of mixed sizes
// would end up holding its largest for every small use; classes keep waste below
// the factor between two of them. What is larger than the last one is left to
// the garbage collector.
var sizeClasses = [...]int{
	chunkSize, 32 << 10, 128 << 10, 512 << 10,
	// A batch of 1 MiB with what is around it; then what producers make of
	// several partitions' batches.
	1100 << 10, 2200 << 10, 4400 << 10, 8800 << 10, 17600 << 10,
}

// buffer is a pooled byte slice. The pointer travels with it so that returning
// it allocates nothing.
type buffer struct {
	b []byte
}

// bufferPool hands out buffers by size class. Safe for concurrent use.
type bufferPool struct {
	classes [len(sizeClasses)]sync.Pool
}

// get returns a buffer with len(b) ≥ size.
func (p *bufferPool) get(size int) *buffer {
	for i, c := range sizeClasses {
		if size <= c {
			if b, ok := p.classes[i].Get().(*buffer); ok {
				return b
			}
			return &buffer{b: make([]byte, c)}
		}
	}
	return &buffer{b: make([]byte, size)}
}

// put takes back a buffer that nobody reads any more. It may have grown since
// it was handed out.
func (p *bufferPool) put(b *buffer) {
	b.b = b.b[:cap(b.b)]
	// One that is larger than its class would only be kept for those who need
	// less, while those who need as much allocate anew.
	largest := len(sizeClasses) - 1
	if len(b.b) > sizeClasses[largest] {
		return
	}
	for i := largest; i >= 0; i-- {
		if len(b.b) >= sizeClasses[i] {
			p.classes[i].Put(b)
			return
		}
	}
}
