package record

import "sync"

// scratchPool holds buffers that batches are decompressed into for validation.
var scratchPool = sync.Pool{New: func() any { return new([]byte) }}

// maxScratch bounds what a pooled buffer may hold on to: one huge batch must not
// pin its memory.
const maxScratch = 4 << 20

func getScratch() *[]byte { return scratchPool.Get().(*[]byte) }

func putScratch(b *[]byte) {
	if cap(*b) <= maxScratch {
		scratchPool.Put(b)
	}
}
