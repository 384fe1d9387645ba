// Package fetch serves Fetch requests above the partitions: the sessions that
// let a client name only what changed (KIP-227), and the wait for data.
//
// # What costs what
//
// A session keeps its partitions in an array. Which of them have to be looked at
// is in a queue: those that the request names, those that moved since (a
// partition tells its watchers), and those where the last look left data behind.
// A fetch looks at the queue and at nothing else, so a session of 10,000
// partitions of which none has moved costs as much as one of ten. Partitions that were served go to the end of the queue: that is the
// fairness under byte limits.
//
// # Who waits, and who goes on
//
// A fetch that waits has no goroutine. It lies in its set, and whoever takes it out goes
// on with it: who has moved a partition that it waits for, its timer, or who ends it. An
// append so answers the consumer that waits for it without another goroutine, and most
// often another thread, to be woken. Kafka's purgatory does the same.
package fetch

import (
	"time"

	"github.com/gracchus-mq/gracchus/protocol"
	"github.com/gracchus-mq/gracchus/storage/commitlog"
)

// Key names a partition as a request does: by topic id from version 13 on, by
// topic name before. Topic is then the name that the id stands for, "" if it is
// not known.
type Key struct {
	Topic     string
	ID        protocol.TopicID
	Partition int32
}

// Want is what a request asks of one partition.
type Want struct {
	Offset             int64
	LogStart           int64 // a follower's log start offset, −1 from a consumer
	MaxBytes           int32
	CurrentLeaderEpoch int32 // −1: unchecked
	LastFetchedEpoch   int32 // −1: not said
}

// PartitionRequest is one partition of a request.
type PartitionRequest struct {
	Key
	Want
}

// Request is a Fetch request.
type Request struct {
	SessionID, SessionEpoch int32
	ByID                    bool // topics are named by their ids

	Partitions []PartitionRequest
	Forgotten  []Key

	MaxWait  time.Duration
	MinBytes int32 // at most MaxBytes counts
	MaxBytes int32
	// HardLimits hold for the first batch, too: before Fetch 3 the client gets
	// nothing that is larger than it asked for (KIP-74).
	HardLimits bool
	Reader     Reader
	// Refuse, if not nil, is the answer for every partition, at once: the reader
	// has no right to any.
	Refuse error
	// Woken, if not nil, gets what goes on now that a follower is known to have more. The
	// caller calls each of them once.
	Woken *[]func()
}

// Reader is who fetches.
type Reader struct {
	ReplicaID     int32 // −1: a consumer
	ReplicaEpoch  int64 // −1: not said
	ReadCommitted bool
	Rack          string
	ClientHost    string
	MayFollow     bool // the client can be sent to a follower (KIP-392)
}

// IsFollower reports whether a replica of the cluster fetches.
func (r *Reader) IsFollower() bool { return r.ReplicaID >= 0 }

// Response is the answer to a Request. The ranges in Results must be released.
type Response struct {
	// Err refuses the request as a whole: kerr.FetchSessionIDNotFound,
	// InvalidFetchSessionEpoch or FetchSessionTopicIDError.
	Err       error
	SessionID int32 // 0: there is no session
	Results   []Result
}

// Release gives up what is in the response.
func (r *Response) Release() {
	for i := range r.Results {
		r.Results[i].Range.Release()
	}
}

// Result is what is known about one partition.
type Result struct {
	Key
	Offset int64 // that was asked for
	Err    error
	ReadResult
	// Loaded are the records where they have been read already; Range is empty then.
	Loaded []byte
}

// ReadRequest asks a partition for records.
type ReadRequest struct {
	Want
	Limit  int32 // bytes; may be lower than Want.MaxBytes
	MinOne bool  // the first batch may exceed the limit
	Reader *Reader
	// New says that Want is what the reader has just asked for, and not the repeated
	// look at it: a follower's offset then tells how far it is.
	New bool
	// Woken, if not nil, gets what is to go on now that it is known how far the reader is.
	Woken *[]func()
}

// ReadResult is what a partition answers. After an error all offsets are −1.
type ReadResult struct {
	HighWatermark, LastStable, LogStart int64
	// End is where this reader must stop: the high watermark, the last stable
	// offset or, for a follower, the log's end.
	End   int64
	Range commitlog.Range // empty at the end of what may be read
	// Aborted are the transactions that a read_committed consumer skips. Nil for
	// read_uncommitted.
	Aborted []commitlog.AbortedTxn
	// DivergingEpoch is the follower's epoch at which its log parts from this
	// one, −1 if it does not; DivergingEnd is where that epoch ends here.
	DivergingEpoch int32
	DivergingEnd   int64
	// PreferredReplica is the broker to read from instead, −1 if this one.
	PreferredReplica int32
}

// nothing is the result beside an error.
func nothing() ReadResult {
	return ReadResult{HighWatermark: -1, LastStable: -1, LogStart: -1, End: -1, DivergingEpoch: -1, PreferredReplica: -1}
}

// Partition is a partition that this broker hosts.
type Partition interface {
	// Read returns records. Its errors are Kafka's.
	Read(ReadRequest) (ReadResult, error)
	// Continues reports whether records below end lie in later segments than the
	// range, which Read does not return with it.
	Continues(r commitlog.Range, end int64) bool
	// Watch has w told whenever the partition has moved: records appended, high
	// watermark, last stable offset or log start changed, its role changed, or it went
	// away. A follower waits for records, others for what is committed.
	Watch(w Watcher, token uint32, follower bool)
	// Unwatch ends one Watch of the same arguments (there may be two for a moment);
	// w may call it while it is being told.
	Unwatch(w Watcher, token uint32)
}

// Watcher is told of movements, outside of the partition's locks. Moved does not
// block. If they are not what the watcher waits for, as when others have what a follower
// has read already, they are worth telling, and not waking for.
//
// goOn, if it is not nil, is to be called once, by whoever has moved the partition: it goes
// on with the fetch that has waited for it. It may read, and write to a socket, but does
// not block.
type Watcher interface {
	Moved(token uint32, awaited bool) (goOn func())
}

// Lookup finds a partition, by its topic's id or by its name. It returns the name
// that the id stands for if there is one. Its errors are Kafka's: kerr.UnknownTopicID,
// UnknownTopicOrPartition, NotLeaderForPartition, KafkaStorageError.
type Lookup func(k Key, byID bool) (topic string, p Partition, err error)
