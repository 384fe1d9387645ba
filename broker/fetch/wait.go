package fetch

import "time"

// Wait is a fetch that has not found enough to answer with. It lies in its set until there
// is news, its time is up, or it is ended, and goes on in the goroutine of whoever brings
// that: in one at a time, which has taken it out of the set.
type Wait struct {
	collector collector
	conclude  func([]Result) Response // what becomes of the set, and the response
	answer    func(Response)
	goOn      func() // what the set hands out
	timer     *time.Timer

	over bool // guarded by set.mu: no more is waited for
	gone bool // guarded by set.mu: nobody is there to read the answer
}

// fewPartitions is how many may be looked at in the goroutine of somebody else.
const fewPartitions = 32

// Begin waits. answer is called once, with what there is when there is enough or the wait
// is over, before Begin returns or later, by whoever has brought that. It must not block.
// protect wraps what is done for it, which is in goroutines of others, too, who must not
// suffer from a panic in it; nil does nothing.
func (w *Wait) Begin(answer func(Response), protect func(func()) func()) {
	run := w.run
	if protect != nil {
		run = protect(run)
	}
	w.answer, w.goOn = answer, run
	if w.collector.full && w.collector.set.size() > fewPartitions {
		w.goOn = func() { go run() } // every partition is looked at
	}
	w.collector.req.Woken = nil // from here on, nobody is there to call them
	run()
}

// End has the wait answered with what there is. If the client is gone the response is
// empty: nobody will read it. It may be called at any time, also before Begin, and again.
func (w *Wait) End(gone bool) {
	s := w.collector.set
	s.mu.Lock()
	w.over = true
	w.gone = w.gone || gone
	mine := s.waiting == w
	if mine {
		s.waiting = nil
	}
	s.mu.Unlock()
	if mine {
		w.goOn()
	}
}

// What is to be done with a wait next.
type step int

const (
	rest   step = iota // it lies in its set: it is somebody else's from now on
	look               // there is news
	settle             // it is to be answered with what there is
	forget             // nobody is there to read an answer
)

// next says what comes next, and lays the wait back where it comes from if nothing does.
func (w *Wait) next() step {
	s := w.collector.set
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case w.gone:
		return forget
	case w.over:
		return settle
	case s.news:
		return look
	}
	s.waiting = w
	return rest
}

func (w *Wait) run() {
	c := &w.collector
	if w.timer == nil {
		c.putAside()
		w.timer = time.AfterFunc(c.req.MaxWait, func() { w.End(false) })
	}
	for {
		switch w.next() {
		case rest:
			return
		case look:
			if c.goOn() {
				w.finish(c.finish())
				return
			}
			c.putAside()
		case settle:
			c.again()
			w.finish(c.finish())
			return
		case forget:
			c.set.enqueue(c.noted...)
			w.finish(nil)
			return
		}
	}
}

func (w *Wait) finish(results []Result) {
	w.timer.Stop()
	w.answer(w.conclude(results))
}
