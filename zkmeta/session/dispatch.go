package session

import "sync"

// dispatcher calls everything that the client tells its users, one thing after the
// other in the order in which it was put: session events, watches, and the
// completion of operations. That one queue is what makes a watch fire before the
// reply of a later read arrives, and a session's end known before the next begins.
//
// put never waits, so that neither the reader of a connection nor the one who
// connects depends on how long a callback takes. The queue is bounded by what there
// is to tell: a completion for each operation in flight, and one event for each
// armed watch.
type dispatcher struct {
	mu    sync.Mutex
	queue []func()
	wake  chan struct{} // holds a token while the queue may have something
}

func newDispatcher() *dispatcher { return &dispatcher{wake: make(chan struct{}, 1)} }

// put appends to the queue.
func (d *dispatcher) put(call func()) {
	d.mu.Lock()
	d.queue = append(d.queue, call)
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run calls what is put until stop is closed and the queue is empty.
func (d *dispatcher) run(stop <-chan struct{}) {
	var batch []func()
	for {
		d.mu.Lock()
		batch, d.queue = d.queue, batch[:0]
		d.mu.Unlock()
		if len(batch) == 0 {
			select {
			case <-d.wake:
				continue
			case <-stop:
			}
			// put and stop may come together; stop is closed by the last one to put.
			d.mu.Lock()
			done := len(d.queue) == 0
			d.mu.Unlock()
			if done {
				return
			}
			continue
		}
		for i, call := range batch {
			call()
			batch[i] = nil
		}
	}
}
