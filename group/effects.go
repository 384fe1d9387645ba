package group

// effects are what steps of a group ask for: writes, which must go to the log in this
// order and before anything that a later step writes, and replies, which may be
// given once no lock is held. The zero value has none.
type effects struct {
	writes  []write
	joins   []joinReply
	syncs   []syncReply
	commits []func()
	noRoom  bool // the group would have grown by more than it may
}

type joinReply struct {
	reply  func(JoinResult)
	result JoinResult
}

type syncReply struct {
	reply  func(SyncResult)
	result SyncResult
}

func (fx *effects) write(w write) { fx.writes = append(fx.writes, w) }

func (fx *effects) joined(reply func(JoinResult), result JoinResult) {
	fx.joins = append(fx.joins, joinReply{reply, result})
}

func (fx *effects) synced(reply func(SyncResult), result SyncResult) {
	fx.syncs = append(fx.syncs, syncReply{reply, result})
}

func (fx *effects) committed(done func()) { fx.commits = append(fx.commits, done) }

// answer gives the replies. No lock may be held.
func (fx *effects) answer() {
	for _, r := range fx.joins {
		r.reply(r.result)
	}
	for _, r := range fx.syncs {
		r.reply(r.result)
	}
	for _, done := range fx.commits {
		done()
	}
}
