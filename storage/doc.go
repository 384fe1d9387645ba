// Package storage looks after the log directories of a broker (log.dirs) and
// the partition logs in them, in the layout of Kafka 3.9: a broker of either
// kind can take over the directories that the other one left.
//
// # A log directory
//
//	meta.properties                   whose it is: broker id, cluster id
//	.lock                             locked while a broker uses it
//	.kafka_cleanshutdown              there after a clean stop, and at no other time
//	recovery-point-offset-checkpoint  per log: below this everything is durable
//	log-start-offset-checkpoint       per log: where DeleteRecords moved its start
//	replication-offset-checkpoint     per log: the high watermark
//	cleaner-offset-checkpoint         per compacted log: where the next compaction begins
//	gracchus-reserve                  room for when the disk is full
//	orders-0/, orders-1/, …           a log each, see package commitlog
//	orders-2.<id>-delete/             a deleted partition, removed after file.delete.delay.ms
//
// Any other sub-directory stops the broker from starting, as it stops Kafka;
// files with other names are nobody's business.
//
// # Life of a Store
//
// [Open] locks the directories and reads whose they are; [Store.Identify]
// checks and writes that; [Store.Load] opens all logs, recovering those of a
// directory that was not left cleanly; [Store.Start] begins the periodic work;
// [Store.Stop] leaves everything so that nobody has to recover it.
//
// # What is where
//
//	store.go             the Store, its configuration, looking logs up
//	hosted.go            an open log and what the Store keeps beside it
//	directory.go         one log directory: going online and offline, its lock
//	watch.go             the file system of one directory, which notices failures
//	room.go              a full disk: the reserve, and when appends are refused
//	failure.go           what follows when a directory fails
//	identify.go, meta.go meta.properties
//	marker.go            the clean-shutdown marker
//	dirname.go           names of partition directories
//	scan.go, load.go     finding and opening the logs
//	create.go, delete.go partitions that come and go
//	checkpoints.go       writing the checkpoint files; checkpoint_format.go their format
//	maintain.go          what a directory needs from time to time
//	compaction.go        what compaction needs of the checkpoints; how it is doing
//	flush.go             fsync by time, and of segments that have been rolled
//	stop.go              leaving cleanly
//	state.go             small private files of the broker itself
//	info.go              what DescribeLogDirs shows
//
// # Full disks and failing ones
//
// A disk without room refuses records, with kerr.KafkaStorageError, and nothing
// else, and goes on when there is some: see room. A network file system that takes
// writes and says with the fsync that there was no room has failed.
//
// The first other I/O error in a log directory takes that directory offline, alone
// and for good: its logs answer kerr.KafkaStorageError, subscribers are told
// (see [Store.OnDirFailure]), and nothing is written there any more. The broker
// carries on with the others; when the last one fails it cannot.
package storage
