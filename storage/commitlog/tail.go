package commitlog

import "sync"

// tailLength is how many batches back the tail remembers.
const tailLength = 64

// tail remembers where the newest batches lie. Nearly all reads are of
// consumers and followers that keep up: with it they are answered without a look
// into index and log. The same goes for the position of the high watermark,
// which bounds every consumer's read.
//
// Concurrency: mu, held for a few comparisons.
type tail struct {
	mu      sync.Mutex
	segment *segment
	end     int64 // end offset and size of the segment
	size    int64
	ring    *[tailLength]place // allocated by the first append
	n       int                // places ever added; the newest is ring[(n-1)%tailLength]
}

// place is where a batch lies.
type place struct {
	base, next     int64 // offsets
	position, size int64
}

func (h header) place() place {
	return place{base: h.base, next: h.next(), position: h.position, size: h.size}
}

// reset forgets everything but the end of the log.
func (t *tail) reset(s *segment, end, size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.segment, t.end, t.size, t.n = s, end, size, 0
}

func (t *tail) add(s *segment, h header) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ring == nil {
		t.ring = new([tailLength]place)
	}
	t.ring[t.n%tailLength] = h.place()
	t.n++
	t.segment, t.end, t.size = s, h.next(), h.position+h.size
}

// find returns the first batch of s whose last offset is ≥ offset. If offset is
// the end offset or above, the place is empty, at the end. known is false if it
// lies further back than the tail remembers.
func (t *tail) find(s *segment, offset int64) (p place, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.segment != s {
		return place{}, false
	}
	p = place{base: t.end, next: t.end, position: t.size}
	if offset >= t.end {
		return p, true
	}
	for i := t.n - 1; i >= max(0, t.n-tailLength); i-- {
		q := t.ring[i%tailLength]
		if q.next <= offset {
			return p, true
		}
		p = q
		if q.base <= offset {
			return p, true
		}
	}
	return place{}, false
}
