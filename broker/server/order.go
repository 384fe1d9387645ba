package server

import (
	"errors"
	"sync"
)

// errClosed is what waiting on a connection that is gone returns.
var errClosed = errors.New("connection is closed")

// flushBatch bounds how many replies go out with one writev.
const flushBatch = 64

// order keeps the replies of one connection in the order of their requests.
//
// The reader pushes slots and waits for room; anybody releases them. Who releases the
// only one writes its reply, as far as the socket takes it; else one flusher at a
// time takes ready slots from the front and writes them. Because
// only the reader adds slots, and it writes to the socket itself only when there
// are none, there are never two who write at the same time.
type order struct {
	write func([]*Reply) error
	// writeNow writes as much of a reply as the socket takes at once, and reports whether
	// that is all of it.
	writeNow func(*Reply) (all bool, err error)
	// spawn runs the flusher in a goroutine that the server accounts for. It is
	// called with mu held and before closed, when the reader still runs.
	spawn func(func())

	mu       sync.Mutex
	moved    sync.Cond // slots were taken out, or closed
	slots    []*Slot   // oldest first
	bytes    int64     // request bytes that the slots stand for
	unknown  int       // slots whose replies are not known yet
	flushing bool
	closed   bool
}

// Slot is the place in line of a reply that waits. See [Request.Hold].
type Slot struct {
	o     *order
	reply *Reply
	bytes int64
	ready bool
	end   func() // asks for the reply, nil if there is nothing to ask
}

func (o *order) init(write func([]*Reply) error, writeNow func(*Reply) (bool, error), spawn func(func())) {
	o.write, o.writeNow, o.spawn = write, writeNow, spawn
	o.moved.L = &o.mu
}

// push adds a slot at the end of the line.
func (o *order) push(p *Reply, bytes int64, end func()) *Slot {
	s := &Slot{o: o, reply: p, bytes: bytes, end: end}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.slots = append(o.slots, s)
	o.bytes += bytes
	if end != nil {
		o.unknown++
	}
	return s
}

// Release lets the reply go as soon as those before it have gone. It may be
// called from any goroutine, once, and never blocks on the socket.
func (s *Slot) Release() {
	o := s.o
	o.mu.Lock()
	s.ready = true
	if o.closed {
		o.drop()
	}
	if o.closed || o.flushing || !o.slots[0].ready {
		o.mu.Unlock()
		return
	}
	o.flushing = true
	if len(o.slots) > 1 { // more may be ready soon, and go out together
		o.spawn(o.flush)
		o.mu.Unlock()
		return
	}
	o.mu.Unlock()

	all, err := o.writeNow(s.reply) // closes the connection when it fails

	o.mu.Lock()
	defer o.mu.Unlock()
	if all || err != nil {
		o.written(1, err)
	}
	if !o.closed && len(o.slots) > 0 && o.slots[0].ready {
		o.spawn(o.flush)
		return
	}
	o.rest()
}

// send gives the slot, which was pushed without one, its reply and releases it.
func (s *Slot) send(p *Reply) {
	s.o.mu.Lock()
	s.reply = p
	s.known()
	s.o.mu.Unlock()
	s.Release()
}

// giveUp is send without a reply, on a connection that is closed.
func (s *Slot) giveUp() {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	s.known()
}

func (s *Slot) known() {
	if s.end == nil {
		return
	}
	s.end = nil
	if s.o.unknown--; s.o.unknown == 0 && s.o.closed {
		s.o.moved.Broadcast()
	}
}

// Reply returns the held reply, for the one who releases.
func (s *Slot) Reply() *Reply { return s.reply }

// flush writes ready replies until the oldest one has to wait.
func (o *order) flush() {
	var batch []*Reply
	for {
		o.mu.Lock()
		batch = batch[:0]
		for _, s := range o.slots {
			if !s.ready || len(batch) == flushBatch {
				break
			}
			batch = append(batch, s.reply)
		}
		if len(batch) == 0 || o.closed {
			o.rest()
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()

		err := o.write(batch) // closes the connection when it fails

		o.mu.Lock()
		o.written(len(batch), err)
		o.mu.Unlock()
	}
}

// written takes out the first n slots, whose replies have gone or cannot go. Called with mu
// held.
func (o *order) written(n int, err error) {
	for _, s := range o.slots[:n] {
		o.bytes -= s.bytes
		s.reply.recycle()
		s.reply = nil
	}
	clear(o.slots[:n])
	o.slots = o.slots[n:]
	if len(o.slots) == 0 {
		o.slots = nil
	}
	if err != nil {
		o.closed = true
	}
	o.moved.Broadcast()
}

// rest ends the flushing. Called with mu held.
func (o *order) rest() {
	o.flushing = false
	if o.closed {
		o.drop()
	}
	o.moved.Broadcast()
}

// drop gives up the ready replies of a closed connection. The others are given
// up as they are released. Called with mu held and no flusher running.
func (o *order) drop() {
	if o.flushing {
		return
	}
	kept := o.slots[:0]
	for _, s := range o.slots {
		if s.ready {
			o.bytes -= s.bytes
			s.reply.recycle()
			s.reply = nil
		} else {
			kept = append(kept, s)
		}
	}
	clear(o.slots[len(kept):])
	o.slots = kept
}

// close ends all waiting.
func (o *order) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.drop()
	o.moved.Broadcast()
}

// hurry asks for the replies that are waited for.
func (o *order) hurry() {
	var ends []func()
	o.mu.Lock()
	for _, s := range o.slots {
		if !s.ready && s.end != nil {
			ends = append(ends, s.end)
		}
	}
	o.mu.Unlock()
	for _, end := range ends {
		end()
	}
}

// waitEmpty returns when every slot has been written.
func (o *order) waitEmpty() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.closed && (len(o.slots) > 0 || o.flushing) {
		o.moved.Wait()
	}
	if o.closed {
		return errClosed
	}
	return nil
}

// waitKnown returns when nobody works any more for a reply of the connection, which is
// closed.
func (o *order) waitKnown() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.unknown > 0 {
		o.moved.Wait()
	}
}

// waitRoom returns when the slots stand for fewer than limit bytes and number
// fewer than maxSlots.
func (o *order) waitRoom(limit int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.closed && (o.bytes >= limit || len(o.slots) >= maxSlots) {
		o.moved.Wait()
	}
	if o.closed {
		return errClosed
	}
	return nil
}

// maxSlots bounds the waits of one connection; a Java producer has five.
const maxSlots = 1024

// empty reports whether the reader may write to the socket itself.
func (o *order) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.slots) == 0 && !o.flushing
}
