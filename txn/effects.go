package txn

// effects are what steps of a transactional id ask for: writes, which must go to the log
// in this order and before anything that a later step writes; and, once no lock is held,
// replies, markers to be sent, and requests that need something else first. The zero
// value asks for nothing.
type effects struct {
	writes  []*change
	replies []reply
	markers *decision
	// fresh are requests that need a producer id that nobody has.
	fresh []*request
	// again are requests that came upon an id that is dead, and look for it again.
	again  []*request
	noRoom bool // the id would have grown by more than it may
}

type reply struct {
	to     func(InitResult)
	result InitResult
}

// decision is how a transaction ends, once that is in the log.
type decision struct {
	value
}

func (d *decision) commit() bool { return d.state == PrepareCommit }

func (fx *effects) write(c *change) { fx.writes = append(fx.writes, c) }

// answer replies to a request that has failed, or that has nothing to say but that it
// has not.
func (fx *effects) answer(r *request, err error) {
	fx.replies = append(fx.replies, reply{r.reply, InitResult{ProducerID: NoProducerID, Epoch: NoEpoch, Err: err}})
}

// none reports whether nothing is asked for.
func (fx *effects) none() bool {
	return len(fx.writes) == 0 && len(fx.replies) == 0 && fx.markers == nil && len(fx.fresh) == 0 && len(fx.again) == 0 && !fx.noRoom
}
