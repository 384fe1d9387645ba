package fetch

import (
	"fmt"
	"math"
)

// collector answers one request from a set.
type collector struct {
	set    *set
	lookup Lookup
	req    *Request
	// full responses name every partition of the set; others only those that
	// have something to tell.
	full bool
	// lazy collectors do not have partitions watched before they have to wait:
	// for sets that live no longer than the request.
	lazy bool

	maxBytes, minBytes int64
	tokens             []uint32 // scratch
	results            []Result
	places             []uint32 // token of each result
	bytes              int64    // in results
	held               int      // results that keep a file open
	urgent             bool     // there is something that must be told at once
	noted              []uint32 // tokens with something to tell that was not returned yet, oldest first
}

// run collects what there is, and reports whether that is the answer: there is enough, or
// the request does not wait.
func (c *collector) run() (done bool) {
	if c.req.Refuse != nil {
		c.refuse()
		return true
	}
	c.maxBytes = int64(max(c.req.MaxBytes, 0))
	c.minBytes = min(int64(c.req.MinBytes), c.maxBytes)
	if c.full { // or growing to that would take several times as much
		c.results, c.places = make([]Result, 0, c.set.size()), make([]uint32, 0, c.set.size())
	}
	c.pass(c.set.take(c.tokens))
	if c.done() || c.req.MaxWait <= 0 || c.set.size() == 0 {
		return true
	}
	if c.lazy {
		c.lazy = false
		c.putAside()
		c.again()
		return c.done()
	}
	return false
}

// goOn looks at what has moved, and reports whether there is enough to answer now.
func (c *collector) goOn() (done bool) {
	c.pass(c.set.take(c.tokens))
	if c.bytes == 0 && !c.urgent {
		return false
	}
	if c.full || len(c.noted) > 0 {
		c.putAside()
		c.again() // with what came before
	}
	return c.done()
}

// refuse answers for every partition without looking at it.
func (c *collector) refuse() {
	for t := range c.set.entries {
		if e := &c.set.entries[t]; e.used() {
			c.results = append(c.results, Result{Key: e.key(), Err: c.req.Refuse, ReadResult: nothing()})
			c.places = append(c.places, uint32(t))
		}
	}
}

// done reports whether there is enough to answer.
func (c *collector) done() bool {
	return c.urgent || c.bytes >= c.minBytes || c.bytes > 0 && c.atSegmentEnd()
}

// atSegmentEnd reports whether a partition gave less than it might because its
// records go on in another segment: then no wait will bring more of it.
func (c *collector) atSegmentEnd() bool {
	for i := range c.results {
		r, e := &c.results[i], &c.set.entries[c.places[i]]
		if n := r.Range.Len; n > 0 && n < int(e.want.MaxBytes) && e.partition.Continues(r.Range, r.End) {
			return true
		}
	}
	return false
}

// pass looks at partitions in order. Those that may not be looked at any more,
// because the response is full, go back to the queue.
func (c *collector) pass(tokens []uint32) {
	c.tokens = tokens
	for i, t := range tokens {
		if !c.set.entries[t].used() {
			continue
		}
		if !c.full && c.bytes >= c.maxBytes && c.bytes > 0 {
			c.set.requeue(tokens[i:])
			return
		}
		c.look(t)
	}
}

// again looks once more at what was put aside, in full responses at everything,
// and at what has moved since.
func (c *collector) again() {
	c.release()
	if c.full {
		c.set.take(nil)
		c.noted = c.noted[:0]
		for t := range c.set.entries {
			c.noted = append(c.noted, uint32(t))
		}
	}
	c.set.enqueue(c.noted...)
	c.noted = c.noted[:0]
	c.pass(c.set.take(c.tokens))
}

// putAside forgets the results, which are not enough yet, but not which
// partitions they are of: more may come to those that have records already.
func (c *collector) putAside() {
	for _, t := range c.places {
		if c.set.entries[t].partition != nil && c.set.arm(t) {
			c.set.Moved(t, true) // as it may have, between the read and the watch
		}
	}
	if !c.full {
		c.noted = append(c.noted, c.places...)
	}
	c.release()
}

func (c *collector) release() {
	for i := range c.results {
		c.results[i].Range.Release()
	}
	clear(c.results)
	c.results, c.places = c.results[:0], c.places[:0]
	c.bytes, c.held, c.urgent = 0, 0, false
}

// maxHeld is how many files one response keeps open. A fetch of ten thousand
// partitions must not need ten thousand descriptors; what comes after that many is
// read into memory, within the byte limit of the response.
const maxHeld = 64

// load reads the records and lets go of their file.
func (r *Result) load() (err error) {
	if r.Loaded, err = r.Range.AppendTo(nil); err != nil {
		err = fmt.Errorf("read the records of %s-%d: %w", r.Topic, r.Partition, err)
	}
	r.Range.Release()
	return err
}

// look reads one partition and takes the result if there is something to tell.
func (c *collector) look(token uint32) {
	e := &c.set.entries[token]
	res, err := c.read(token)
	result := Result{Key: e.key(), Offset: e.want.Offset, Err: err, ReadResult: res}
	if res.Range.File != nil {
		if c.held < maxHeld {
			c.held++
		} else if err = result.load(); err != nil {
			result.Err = err
		}
	}
	changed := err != nil || res.HighWatermark != e.highWatermark || res.LogStart != e.logStart ||
		res.DivergingEpoch >= 0 || res.PreferredReplica >= 0
	if err == nil && (c.bytes > 0 || c.req.HardLimits) && res.Range.Len == 0 && e.want.MaxBytes > 0 && e.want.Offset < res.End {
		c.urgent = true // what is there does not fit behind the rest, and no wait would change that
	}
	if !c.full && !changed && res.Range.Len == 0 {
		if more(e, &res) { // the client wants no bytes of it now
			c.set.enqueue(token)
		}
		return
	}
	c.results = append(c.results, result)
	c.places = append(c.places, token)
	c.bytes += int64(res.Range.Len)
	if err != nil || res.DivergingEpoch >= 0 || res.PreferredReplica >= 0 {
		c.urgent = true
	}
}

// read reads one partition within what is left of the request's bytes. A
// partition with nothing to read is watched from now on; one that
// could have given more stays in the queue.
func (c *collector) read(token uint32) (ReadResult, error) {
	e := &c.set.entries[token]
	held := e.partition != nil
	res, err := c.readOnce(e)
	if err != nil && held {
		// The partition may have been replaced since it was looked up.
		c.set.disarm(token)
		e.partition = nil
		res, err = c.readOnce(e)
	}
	if err != nil {
		if e.partition != nil {
			c.set.disarm(token)
			e.partition = nil
		}
		return nothing(), err
	}
	if !c.lazy && !more(e, &res) && c.set.arm(token) {
		// It may have moved between the read and the watch.
		res.Range.Release()
		if res, err = c.readOnce(e); err != nil {
			c.set.disarm(token)
			e.partition = nil
			return nothing(), err
		}
	}
	return res, nil
}

func (c *collector) readOnce(e *entry) (ReadResult, error) {
	if e.partition == nil {
		name, p, err := c.lookup(e.key(), c.set.byID)
		if name != "" {
			e.topic.name = name
		}
		if err != nil {
			return nothing(), err
		}
		e.partition = p
	}
	left := min(c.maxBytes-c.bytes, int64(e.want.MaxBytes), math.MaxInt32)
	res, err := e.partition.Read(ReadRequest{Want: e.want, Limit: int32(max(left, 0)), MinOne: c.bytes == 0 && !c.req.HardLimits, Reader: &c.req.Reader, New: e.fresh, Woken: c.req.Woken})
	if err == nil {
		e.fresh = false
	}
	return res, err
}

// more reports whether the partition has records at or behind the wanted offset.
func more(e *entry, res *ReadResult) bool {
	return e.want.Offset < res.End || res.DivergingEpoch >= 0 || res.PreferredReplica >= 0
}

// finish remembers what the client is told, and queues again the partitions that
// have more: an error, records (the client may not take them), or no room.
func (c *collector) finish() []Result {
	for i := range c.results {
		r, e := &c.results[i], &c.set.entries[c.places[i]]
		e.highWatermark, e.logStart = r.HighWatermark, r.LogStart
		if r.Err != nil {
			e.highWatermark = -1
		}
		if r.Err != nil || more(e, &r.ReadResult) {
			c.set.enqueue(c.places[i])
		}
		r.Key = e.key()
	}
	return c.results
}
