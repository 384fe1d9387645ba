package broker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"path"
	"strings"
	"time"

	"github.com/gracchus-mq/gracchus/cluster"
	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/protocol/record"
	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// within waits until something is so, no longer than it may take, and says how long it took.
func (s *simulation) within(limit time.Duration, what string, is func() bool) bool {
	return s.withinEvery(20*time.Millisecond, limit, what, is)
}

// withinEvery looks that often.
func (s *simulation) withinEvery(interval, limit time.Duration, what string, is func() bool) bool {
	began := time.Now()
	for !is() {
		if time.Since(began) > limit {
			s.seen.bad("%s: not within %v", what, limit)
			s.noteViews()
			return false
		}
		time.Sleep(interval)
	}
	s.note("%s after %v", what, time.Since(began))
	return true
}

// noteViews writes down what the brokers say.
func (s *simulation) noteViews() {
	for _, m := range s.brokers {
		b := m.broker()
		if b == nil {
			s.note("broker %d does not run", m.id)
			continue
		}
		epoch, active := b.parts.controller.Active()
		s.note("broker %d: controller %v (epoch %d), registered in epoch %d", m.id, active, epoch, b.parts.registration.Epoch())
		for _, p := range s.replicated {
			if found, ok := b.parts.view.Snapshot().Partition(p); ok {
				s.note("  partition %v: leader %d in epoch %d, in sync %v, version %d, %d bytes here", p, found.Leader, found.LeaderEpoch, found.ISR, found.PartitionEpoch, len(logOf(m.disk, p)))
			}
		}
	}
}

// everywhere says whether all brokers say of every partition what is asked.
func (s *simulation) everywhere(is func(*cluster.Partition) bool) bool { return s.others(nil, is) }

// others is everywhere but on one broker.
func (s *simulation) others(except *simBroker, is func(*cluster.Partition) bool) bool {
	for _, m := range s.brokers {
		if m != except && !m.says(is) {
			return false
		}
	}
	return true
}

func (b *simBroker) says(is func(*cluster.Partition) bool) bool {
	running := b.broker()
	if running == nil {
		return false
	}
	for _, p := range b.s.replicated {
		if found, ok := running.parts.view.Snapshot().Partition(p); !ok || !is(found) {
			return false
		}
	}
	return true
}

func led(p *cluster.Partition) bool    { return p.Leader > 0 }
func inSync(p *cluster.Partition) bool { return p.Leader > 0 && len(p.ISR) == len(p.Replicas) }

// settled waits until the healed cluster is as it should be.
func (s *simulation) settled() bool {
	return s.within(startLimit, "all brokers run", func() bool {
		for _, b := range s.brokers {
			if b.broker() == nil {
				return false
			}
		}
		return true
	}) &&
		s.within(simSessionTimeout+3*time.Second, "leaders everywhere", func() bool { return s.everywhere(led) }) &&
		s.within(time.Minute, "all replicas in sync", func() bool { return s.everywhere(inSync) })
}

// startLimit is within which time a broker is there again: it may have to wait for its
// last session to expire.
const startLimit = 30 * time.Second

// compare holds that what the consumers have read is what all replicas have, and that
// the producers find there what was acknowledged to them.
func (s *simulation) compare(lanes []*lane, taps []*tap) {
	for p, c := range taps {
		for _, b := range s.brokers {
			log := logOf(b.disk, simPartition(int32(p)))
			if at, same := sameBatches(c.bytes, log); !same {
				s.seen.bad("partition %d: the replica of broker %d (%d bytes) is not what a consumer has read (%d bytes), from offset %d on", p, b.id, len(log), len(c.bytes), at)
			}
		}
		s.checkEpochs(int32(p), c.bytes)
		s.checkRecords(int32(p), c.bytes, lanes)
	}
}

// compareOffsets holds that the replicas of __consumer_offsets have the same last record
// of each key: before that, each broker compacts by itself.
func (s *simulation) compareOffsets() {
	for p := range int32(simOffsetsPartitions) {
		first := s.lastRecords(s.brokers[0], simOffsetsPartition(p))
		for _, b := range s.brokers[1:] {
			if other := s.lastRecords(b, simOffsetsPartition(p)); !maps.Equal(first, other) {
				s.seen.bad("%v: the replicas of brokers 1 and %d have not the same last records: %q and %q", simOffsetsPartition(p), b.id, first, other)
			}
		}
	}
}

// lastRecords returns the offset and the value of the last record of each key, but for
// tombstones.
func (s *simulation) lastRecords(b *simBroker, tp protocol.TopicPartition) map[string]string {
	last := map[string]string{}
	for log := logOf(b.disk, tp); len(log) > 0; {
		var batch record.Batch
		var err error
		if batch, log, err = record.Next(log); err != nil {
			s.seen.bad("%v on broker %d: %v", tp, b.id, err)
			break
		}
		for r, err := range batch.Records(1 << 20) {
			switch {
			case err != nil:
				s.seen.bad("%v on broker %d, offset %d: %v", tp, b.id, batch.BaseOffset(), err)
			case r.Value == nil:
				delete(last, string(r.Key))
			default:
				last[string(r.Key)] = fmt.Sprintf("%d %x", batch.Offset(r), r.Value)
			}
		}
	}
	return last
}

// logOf is the content of a replica's log.
func logOf(disk *vfs.Mem, partition protocol.TopicPartition) []byte {
	dir := path.Join("/a", partition.String())
	entries, err := disk.ReadDir(dir)
	if err != nil {
		return nil
	}
	var all []byte
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".log") {
			b, err := vfs.ReadFile(disk, path.Join(dir, e.Name()), 1<<30)
			if err != nil {
				return nil
			}
			all = append(all, b...)
		}
	}
	return all
}

// sameBatches finds the offset of the first batch that a log does not begin with.
func sameBatches(read, log []byte) (offset int64, same bool) {
	if bytes.HasPrefix(log, read) {
		return 0, true
	}
	for {
		b, rest, err := record.Next(read)
		if err != nil || !bytes.HasPrefix(log, b) {
			return offset, false
		}
		offset, read, log = b.NextOffset(), rest, log[len(b):]
	}
}

// checkEpochs holds that leader epochs do not go back.
func (s *simulation) checkEpochs(partition int32, log []byte) {
	last := int32(-1)
	for len(log) > 0 {
		var b record.Batch
		b, log, _ = record.Next(log)
		if b.LeaderEpoch() < last {
			s.seen.bad("partition %d: a batch of epoch %d at offset %d, behind one of epoch %d", partition, b.LeaderEpoch(), b.BaseOffset(), last)
		}
		last = b.LeaderEpoch()
	}
}

// checkRecords holds that every acknowledged record is there once, in order, at its
// offset. Others may be there, too, but not twice.
func (s *simulation) checkRecords(partition int32, log []byte, lanes []*lane) {
	next := map[uint32]uint32{} // of each producer
	at := map[uint32]map[uint32]int64{}
	for len(log) > 0 {
		var b record.Batch
		b, log, _ = record.Next(log)
		for r, err := range b.Records(1 << 20) {
			if err != nil {
				s.seen.bad("partition %d, offset %d: %v", partition, b.BaseOffset(), err)
				return
			}
			producer, n := binary.BigEndian.Uint32(r.Value), binary.BigEndian.Uint32(r.Value[4:])
			if n != next[producer] {
				s.seen.bad("partition %d, offset %d: record %d of producer %d, where %d should be", partition, b.Offset(r), n, producer, next[producer])
			}
			next[producer] = n + 1
			if at[producer] == nil {
				at[producer] = map[uint32]int64{}
			}
			at[producer][n] = b.Offset(r)
		}
	}
	for _, l := range lanes {
		if l.partition != partition {
			continue
		}
		for _, batch := range l.sent[:l.acked] {
			for i := range uint32(batch.count) {
				where, there := at[l.number][batch.first+i]
				if !there || batch.offset >= 0 && where != batch.offset+int64(i) {
					found := "is not there"
					if there {
						found = fmt.Sprint("is at ", where)
					}
					s.seen.bad("partition %d: record %d of producer %d was acknowledged at %d and %s", partition, batch.first+i, l.number, batch.offset+int64(i), found)
				}
			}
		}
	}
}

// noteRecords writes down what the replicas have of the batches that a producer waits for,
// and of the last ones that were acknowledged to it.
func (s *simulation) noteRecords(l *lane) {
	for _, batch := range l.sent[max(0, l.acked-2):] {
		s.note("producer %d of partition %d: records %d to %d, offset %d", l.id, l.partition, batch.first, batch.first+uint32(batch.count)-1, batch.offset)
	}
	for _, b := range s.brokers {
		var found []string
		for log := logOf(b.disk, simPartition(l.partition)); len(log) > 0; {
			var batch record.Batch
			var err error
			if batch, log, err = record.Next(log); err != nil {
				break
			}
			if batch.ProducerID() == l.id {
				found = append(found, fmt.Sprintf("%d to %d at %d in epoch %d", batch.BaseSequence(), batch.LastSequence(), batch.BaseOffset(), batch.LeaderEpoch()))
			}
		}
		s.note("  broker %d has %d batches: %s", b.id, len(found), strings.Join(found[max(0, len(found)-7):], "; "))
	}
}
