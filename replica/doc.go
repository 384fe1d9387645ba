// Package replica holds the partitions that this broker hosts: what the
// controller has made it in each of them, leader or follower, what a leader does
// for clients and followers, and how a follower copies.
//
// # What is where
//
//	replicas.go       all partitions: finding one, starting, stopping
//	table.go          the map behind it
//	roles.go          what the controller says: LeaderAndIsr
//	refusals.go       partitions that this broker would not lead
//	open.go           the logs that come with new roles
//	stop.go           what the controller says: StopReplica; failed directories
//	events.go         telling coordinators about it
//	partition.go      one partition, and its role
//
// A leader:
//
//	append.go         produce
//	markers.go        the ends of transactions
//	open_transactions.go   the oldest in each partition
//	verify.go         whether a transaction is open
//	topic_log.go      an internal topic as its coordinator sees it
//	confirm.go        whether this broker still leads: asking the followers
//	inquiries.go      the questions, several in one request
//	read.go           fetch
//	offsets.go        ListOffsets, OffsetForLeaderEpoch
//	delete_records.go DeleteRecords
//	followers.go      what a leader knows of its followers
//	progress.go       what follows from a follower's fetch
//	isr.go            pure rules: high watermark, who is in sync, min.insync.replicas
//	isr_change.go     proposing another ISR, and taking over what was decided
//	alters.go         asking the controller: AlterPartition
//	highwatermark.go  moving the high watermark
//	waiters.go        produces that wait for it
//	watchers.go       fetches that wait for anything to move
//	syncer.go         fsync before acknowledgement
//
// A follower:
//
//	fetchers.go       which partition is copied from which broker
//	fetcher.go        copying from one broker: ask, apply, ask again
//	fetched.go        what becomes of the answers
//	fetch_session.go  which partitions a request has to name
//	line.go           the connection, and its buffers
//	follow.go         what is done to the log
//	truncation.go     pure rules: where to cut it
//
// # How an append becomes visible
//
// A leader appends to its log, which raises the end offset. Followers fetch what
// is there, and by the offset of their next fetch say that they have it. The high
// watermark follows when all in-sync replicas have the records; with an ISR of only
// this broker that is at once or, if flush.messages=1, when they are on the disk.
// Consumers read below the high watermark, and a produce with acks=all is
// answered when the high watermark has passed it.
//
// # How the ISR changes
//
// A follower joins with its fetch, when it has what the members have, and leaves
// when it has lacked something for replica.lag.time.max.ms. Either is a proposal,
// which stands in the role until the controller has answered: until then those who
// would join count already, and those who would leave count still, because nobody
// knows whether the controller has decided it.
//
// # How a follower follows
//
// What it may have that its leader does not, the first fetch finds out: it names the
// epoch of the last record, and the leader answers where its own log parts from
// that (KIP-595). The log is cut there, and the next fetch begins at its end. An old
// leader's response must not reach the log when the controller has said otherwise:
// everything that a follower does to its log it does under the role's lock, and only
// if the role is still the one in which it asked.
//
// # Locks
//
// A partition's role lock comes before its log's locks. Appends hold it shared, a
// follower's as well as a leader's: when a role changes no append of the old role is
// under way, so that the log's end is where the new leader's epoch begins. The lock
// of a leader's followers comes last, and is held for comparisons only. Nothing is woken, and nothing of
// the network or ZooKeeper waited for, under a lock of a partition.
package replica
