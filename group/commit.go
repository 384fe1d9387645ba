package group

import (
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/statelog"
)

// Commit is an OffsetCommit or TxnOffsetCommit request, or what is left of it when topics
// and rights were checked. It belongs to the coordinator until it is done.
type Commit struct {
	Group string
	// Producer is who commits in a transaction, at whose end the offsets become valid; nil
	// is none.
	Producer   *Producer
	MemberID   string
	InstanceID *string
	Generation int32 // NoGeneration of who is in no group, or before version 1
	Offsets    []CommitOffset

	done   func()
	number uint64 // of the group's commits
}

// CommitOffset is one offset to be committed, and what came of it.
type CommitOffset struct {
	Topic       string
	Partition   int32
	Offset      int64 // whatever the client likes, as in Kafka
	LeaderEpoch int32 // −1 before version 6
	Metadata    string
	CommitMS    int64 // NoTime from version 2 on
	ExpireMS    int64 // NoExpiry, or the time of the request and its retention time
	Err         error // set when the commit is done
}

// NoTime says that a commit is as old as its request.
const NoTime int64 = -1

// value is what is stored of it, if it is committed at nowMS.
func (o *CommitOffset) value(nowMS int64) OffsetValue {
	v := OffsetValue{Offset: o.Offset, LeaderEpoch: o.LeaderEpoch, Metadata: o.Metadata, CommitMS: nowMS, ExpireMS: o.ExpireMS}
	if o.CommitMS != NoTime {
		v.CommitMS = o.CommitMS
	}
	return v
}

// TopicPartition is the partition that the offset is of.
func (o *CommitOffset) TopicPartition() protocol.TopicPartition {
	return protocol.TopicPartition{Topic: o.Topic, Partition: o.Partition}
}

// fail sets an error on all offsets that have none.
func (c *Commit) fail(err error) {
	for i := range c.Offsets {
		if o := &c.Offsets[i]; o.Err == nil {
			o.Err = err
		}
	}
}

// commit has offsets written, if the member may commit.
func (g *classicGroup) commit(now time.Time, c *Commit, fx *effects) {
	m, err := g.validateCommit(c)
	if err == nil && !g.mayGrow(g.commitGrowth(c), fx) {
		err = errDead
	}
	if err != nil {
		c.fail(err)
		fx.committed(c.done)
		return
	}
	if m != nil && c.Producer == nil {
		g.restartSession(m, now)
	}
	if g.inFlight == nil {
		g.inFlight = make(map[protocol.TopicPartition]inFlight, len(c.Offsets))
	}
	accepted := false
	c.number = g.commits
	g.commits++
	for i := range c.Offsets {
		o := &c.Offsets[i]
		if o.Err = g.limits.checkMetadata(o.Metadata); o.Err != nil {
			continue
		}
		accepted = true
		g.sent(o.TopicPartition())
	}
	if !accepted {
		fx.committed(c.done)
		return
	}
	if c.Producer != nil {
		g.transaction(c.Producer.ID).inFlight++
	}
	fx.write(write{group: g.id, commit: c, timeMS: now.UnixMilli()})
}

// checkMetadata returns kerr.OffsetMetadataTooLarge for what may not be stored with an
// offset.
func (l *Limits) checkMetadata(metadata string) error {
	if longerThan(metadata, l.OffsetMetadataMaxBytes) || len(metadata) > statelog.MaxString {
		return errMetadataTooLarge
	}
	return nil
}

// validateCommit returns the member that commits, nil if it is none of the group's,
// which may then commit only while there are no members, or in a transaction: for that,
// older clients do not say who they are.
func (g *classicGroup) validateCommit(c *Commit) (*member, error) {
	switch {
	case g.state == Dead:
		return nil, errDead
	case c.Generation < 0 && g.state == Empty:
		return nil, nil
	case c.Generation < 0 && c.MemberID == "" && c.InstanceID == nil && c.Producer != nil:
		return nil, nil
	case c.Generation < 0 && c.MemberID == "" && c.InstanceID == nil:
		return nil, errUnknownMember
	}
	m, err := g.validate(c.MemberID, c.InstanceID)
	switch {
	case err != nil:
		return nil, err
	case c.Generation != g.generation:
		return nil, errIllegalGeneration
	case g.state == CompletingRebalance && c.Producer == nil:
		return nil, errRebalancing
	}
	return m, nil
}

// committed goes on when the offsets are in the log, in a batch at base, or could not
// be written.
func (g *classicGroup) committed(w *write, base int64, err error, fx *effects) {
	for i := range w.commit.Offsets {
		o := &w.commit.Offsets[i]
		if o.Err != nil {
			continue
		}
		tp := o.TopicPartition()
		deleted := g.landed(tp, w.commit.number)
		if o.Err = err; err != nil || deleted {
			continue
		}
		stored := storedOffset{o.value(w.timeMS), base}
		if w.commit.Producer != nil {
			g.storeInTransaction(w.commit.Producer.ID, tp, stored)
		} else {
			g.store(tp, stored)
		}
	}
	if w.commit.Producer != nil {
		g.landedInTransaction(w.commit.Producer.ID)
	}
	if len(g.inFlight) == 0 && len(w.commit.Offsets) > inFlightKept {
		g.inFlight = nil // as large as the commit was
	}
	fx.committed(w.commit.done)
}

// inFlightKept is for how many partitions a group keeps room between commits.
const inFlightKept = 32

// inFlight are the commits of one partition that are on their way to the log.
type inFlight struct {
	n int
	// valid is the first commit that counts: when those before it were under way
	// already the offset was deleted, and a tombstone comes after them.
	valid uint64
}

func (g *classicGroup) sent(tp protocol.TopicPartition) {
	f := g.inFlight[tp]
	f.n++
	g.inFlight[tp] = f
}

// landed ends what sent has begun, and reports whether the offset was deleted since.
func (g *classicGroup) landed(tp protocol.TopicPartition, number uint64) (deleted bool) {
	f := g.inFlight[tp]
	if f.n--; f.n > 0 {
		g.inFlight[tp] = f
	} else {
		delete(g.inFlight, tp)
	}
	return number < f.valid
}

// store takes over an offset that is in the log, unless a later one is known.
func (g *classicGroup) store(tp protocol.TopicPartition, o storedOffset) {
	before := g.offsets.takes
	g.offsets.put(tp, o)
	g.takes += g.offsets.takes - before
}

// unstable reports whether a commit of the partition is under way: what is committed
// may soon be something else (KIP-447).
func (g *classicGroup) unstable(tp protocol.TopicPartition) bool {
	if g.inFlight[tp].n > 0 {
		return true
	}
	for _, t := range g.transactions {
		if _, ok := t.offsets[tp]; ok {
			return true
		}
	}
	return false
}
