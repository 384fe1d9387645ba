package simnet

import (
	"bytes"
	"math/rand/v2"
	"time"
)

// stream is one direction of a connection. The network's mutex guards it.
type stream struct {
	link    *link
	rnd     *rand.Rand
	changed chan struct{} // closed when there is something new for the reader

	queue   []packet // what was sent and is not read; the last may be how it ends
	last    time.Time
	ended   bool // the queue has its last packet
	closed  bool // nobody reads any more
	refused bool // who was to read has lost its memory of the connection
}

// packet is bytes, or the end of the stream.
type packet struct {
	data []byte
	err  error
	at   time.Time // of its arrival
}

func newStream(l *link, rnd *rand.Rand) *stream {
	s := &stream{link: l, rnd: rnd, changed: make(chan struct{})}
	l.streams[s] = true
	return s
}

func (s *stream) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// put sends bytes or the end of the stream, in order behind what was sent before.
func (s *stream) put(data []byte, err error) {
	if s.ended || s.closed {
		return
	}
	at := time.Now().Add(s.link.delay(s.rnd))
	if at.Before(s.last) {
		at = s.last
	}
	s.last = at
	s.ended = err != nil
	s.queue = append(s.queue, packet{bytes.Clone(data), err, at})
	s.signal()
}

// send is put of a message, which may break the connection. back is the other direction.
func (s *stream) send(b []byte, back *stream) {
	switch {
	case s.refused:
		back.put(nil, errReset)
	case s.link.Tears > 0 && s.rnd.Float64() < s.link.Tears:
		s.put(b[:s.rnd.IntN(len(b)+1)], nil)
		s.put(nil, errReset)
		back.tear()
	default:
		s.put(b, nil)
	}
}

// take reads what has arrived into b or, if nothing has, says when the next will.
func (s *stream) take(b []byte, now time.Time) (n int, due time.Time, err error) {
	for len(s.queue) > 0 && n < len(b) {
		p := &s.queue[0]
		if !s.arrived(p, now) {
			if n == 0 && !s.link.cut {
				due = p.at
			}
			return n, due, nil
		}
		if p.err != nil {
			if n == 0 {
				err = p.err // and stays, to be read again
			}
			return n, due, err
		}
		k := copy(b[n:], p.data)
		n += k
		p.data = p.data[k:]
		if len(p.data) == 0 {
			s.queue = s.queue[1:]
		}
	}
	return n, due, nil
}

func (s *stream) arrived(p *packet, now time.Time) bool {
	return !p.at.After(now) && (!s.link.cut || !p.at.After(s.link.cutAt))
}

// over says whether the end of the stream has arrived.
func (s *stream) over(now time.Time) bool {
	return s.ended && s.arrived(&s.queue[len(s.queue)-1], now)
}

// close has nobody read any more. What is written is lost.
func (s *stream) close() {
	s.closed = true
	if !s.ended {
		s.queue = nil
	}
	delete(s.link.streams, s)
	s.signal()
}

// refuse has what is sent from now on answered by a reset, and what is there already.
// back is the other direction.
func (s *stream) refuse(back *stream) {
	s.refused = true
	if len(s.queue) > 0 {
		back.put(nil, errReset)
	}
	s.close()
}

// tear breaks the stream: of the bytes that have not arrived some do, and then its end.
func (s *stream) tear() {
	now := time.Now()
	arrived, pending := 0, 0
	for i := range s.queue {
		if s.arrived(&s.queue[i], now) {
			arrived = i + 1
		} else {
			pending += len(s.queue[i].data)
		}
	}
	if s.ended && arrived == len(s.queue) {
		return
	}
	keep := s.rnd.IntN(pending + 1)
	kept := s.queue[:arrived:arrived]
	for _, p := range s.queue[arrived:] {
		if k := min(keep, len(p.data)); k > 0 {
			p.data = p.data[:k]
			kept = append(kept, p)
			keep -= k
		}
	}
	s.queue, s.ended = kept, false
	s.put(nil, errReset)
}

// Resend is within which time what a cut has held up is sent again when it has ended.
const Resend = 500 * time.Millisecond

// sendAgain has arrive, now that the link is mended, what was held up.
func (s *stream) sendAgain() {
	first := time.Now().Add(s.link.delay(s.rnd) + time.Duration(s.rnd.Int64N(int64(Resend))))
	for i := range s.queue {
		if p := &s.queue[i]; p.at.After(s.link.cutAt) && p.at.Before(first) {
			p.at = first
		}
	}
	if s.last.Before(first) {
		s.last = first
	}
	s.signal()
}
