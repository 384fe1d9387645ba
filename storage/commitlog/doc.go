// Package commitlog keeps one partition's log on disk, file for file and byte
// for byte as Kafka 3.9 does, so that either broker can open what the other
// left.
//
// A log is a directory of segments. A segment holds whole record batches, one
// behind the other exactly as they travel, in a file named after the offset it
// begins with:
//
//	00000000000000000000.log         batches of offsets 0 … 999
//	00000000000000000000.index       offset → position, one entry per 4 KiB of log
//	00000000000000000000.timeindex   timestamp → offset, as sparse
//	00000000000000000000.txnindex    aborted transactions, if there were any
//	00000000000000001000.log         batches from offset 1000 on: the active segment
//	00000000000000001000.index
//	00000000000000001000.timeindex
//	00000000000000001000.snapshot    producer state before offset 1000
//	leader-epoch-checkpoint          leader epoch → first offset
//	partition.metadata               the topic's id
//
// Only the last segment, the active one, is written to. All others are sealed:
// their indexes are complete and cut to size, and nothing in them changes until
// retention, compaction or truncation removes them.
//
// # What is where
//
//	log.go          the Log, its options, its offsets
//	append.go       appending as leader and as follower
//	roll.go         when a new segment begins, and how the old one is sealed
//	read.go         offset → file range; tail.go: where the newest batches lie
//	lookup.go       timestamp → offset, offset of the newest timestamp
//	segment.go      one segment; scan.go: the batches in its file
//	index.go        what the indexes have in common
//	offset_index.go, time_index.go, txn_index.go, epochs.go, metadata.go
//	load.go         opening a log; recover.go: making it whole after a crash
//	sealed.go       reading sealed segments, for compaction
//	compaction.go   putting a segment in the place of others; replacement.go: writing it
//	replace.go      finishing or undoing that after a crash
//	snapshots.go    the producers' state: written, and rebuilt
//	truncate.go     cutting the end off; retention.go: dropping the beginning
//	sync.go         group commit, and what may be called durable
//	close.go        leaving a log so that nobody has to recover it
//	files.go        the cache of file descriptors that all logs share
//
// # Durability
//
// An append is in the file, that is in the kernel's page cache, before it
// returns: no kill of the process loses it. What a power loss leaves is decided
// by [Log.Sync]. Recovery starts at the recovery point, below which everything
// is known to be on the disk, indexes included.
package commitlog
