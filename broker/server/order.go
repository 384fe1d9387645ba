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
// The reader pushes slots and waits for room; anybody releases them; one
// flusher at a time takes ready slots from the front and writes them. Because
// only the reader adds slots, and it writes to the socket itself only when there
// are none, reader and flusher never write at the same time.
type order struct {
	write func([]*Reply) error
	// spawn runs the flusher in a goroutine that the server accounts for. It is
	// called with mu held and before closed, when the reader still runs.
	spawn func(func())

	mu       sync.Mutex
	moved    sync.Cond // slots were taken out, or closed
	slots    []*Slot   // oldest first
	bytes    int64     // request bytes that the slots stand for
	flushing bool
	closed   bool
}

// Slot is the place in line of a reply that waits. See [Request.Hold].
type Slot struct {
	o     *order
	reply *Reply
	bytes int64
	ready bool
}

func (o *order) init(write func([]*Reply) error, spawn func(func())) {
	o.write, o.spawn = write, spawn
	o.moved.L = &o.mu
}

// push adds a slot at the end of the line.
func (o *order) push(p *Reply, bytes int64) *Slot {
	s := &Slot{o: o, reply: p, bytes: bytes}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.slots = append(o.slots, s)
	o.bytes += bytes
	return s
}

// Release lets the reply go as soon as those before it have gone. It may be
// called from any goroutine, once, and never blocks on the socket.
func (s *Slot) Release() {
	o := s.o
	o.mu.Lock()
	defer o.mu.Unlock()
	s.ready = true
	if o.closed {
		o.drop()
	} else if !o.flushing && o.slots[0].ready {
		o.flushing = true
		o.spawn(o.flush)
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
			o.flushing = false
			if o.closed {
				o.drop()
			}
			o.moved.Broadcast()
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()

		err := o.write(batch) // closes the connection when it fails

		o.mu.Lock()
		for _, s := range o.slots[:len(batch)] {
			o.bytes -= s.bytes
			s.reply.recycle()
			s.reply = nil
		}
		clear(o.slots[:len(batch)])
		o.slots = o.slots[len(batch):]
		if len(o.slots) == 0 {
			o.slots = nil
		}
		if err != nil {
			o.closed = true
		}
		o.moved.Broadcast()
		o.mu.Unlock()
	}
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
