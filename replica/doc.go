// Package replica holds the partitions that this broker hosts: what the
// controller has made it in each of them, leader or follower, and what a leader
// does for clients.
//
// # What is where
//
//	replicas.go       all partitions: finding one, starting, stopping
//	table.go          the map behind it
//	roles.go          what the controller says: LeaderAndIsr
//	open.go           the logs that come with new roles
//	stop.go           what the controller says: StopReplica; failed directories
//	events.go         telling coordinators about it
//	partition.go      one partition, and its role
//	append.go         produce
//	read.go           fetch
//	offsets.go        ListOffsets, OffsetForLeaderEpoch
//	delete_records.go DeleteRecords
//	isr.go            pure rules: high watermark, min.insync.replicas
//	highwatermark.go  moving the high watermark
//	waiters.go        produces that wait for it
//	watchers.go       fetches that wait for anything to move
//	syncer.go         fsync before acknowledgement
//
// # How an append becomes visible
//
// A leader appends to its log, which raises the end offset. The high watermark
// follows when all in-sync replicas have the records; with an ISR of only this
// broker that is at once or, if flush.messages=1, when they are on the disk.
// Consumers read below the high watermark, and a produce with acks=all is
// answered when the high watermark has passed it.
//
// # Locks
//
// A partition's role lock comes before its log's locks. Appends hold it shared:
// when a role changes no append of the old role is under way, so that the log's
// end is where the new leader's epoch begins. Nothing is woken, and nothing of
// the network or ZooKeeper waited for, under a lock of a partition.
package replica
