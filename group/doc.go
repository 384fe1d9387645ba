// Package group coordinates consumer groups: who is a member, who reads what, and how
// far each has come. It follows the classic protocol of Kafka 3.9, and docs/groups.md
// says where it does better.
//
// # What is where
//
// The state machine of one group, which is pure:
//
//	classic.go        the state, and what follows from it
//	member.go         a member: adding, dropping, parking its requests
//	join.go           JoinGroup
//	rebalance.go      the barrier that joins wait for, and the next generation
//	sync.go           SyncGroup, and the assignments on their way to the log
//	static.go         static members that come back
//	heartbeat.go, leave.go
//	transaction.go    commits in transactions
//	commit.go         OffsetCommit, and the offsets on their way to the log
//	table.go          the offsets that are in the log
//	offsets.go        expiry and deletion
//	tick.go           what is due
//	persist.go        the group as it is stored, and as it was loaded
//	effects.go        what a step asks for
//	write.go          what a step has for the log
//	footprint.go      what the group takes in memory
//
// The coordinator:
//
//	coordinator.go    its life, and finding a group
//	partition.go      one leadership
//	hosted.go         one group: its mutex and its alarm
//	queued.go         its writes on their way to the log
//	load.go, loader.go     reading one partition of the log
//	append_errors.go  what clients are told of what the log refuses
//	membership.go, committed.go, admin.go   the requests
//	budget.go         what all groups may take in memory
//	settings.go, strings.go
//	expiry.go         looking for expired offsets
//	all_offsets.go, stats.go   what others may show
//
// Leaderships, writing to a partition and reading it are those of statelog.
//
// Records of __consumer_offsets: record_key.go, record_offset.go, record_group.go;
// subscription.go reads what consumers say of themselves.
//
// # Locks
//
// A group's mutex comes first; under it a write is put into the appender's line, by
// the appender's own. A partition's mutex guards its table of groups and is never held
// while a group's is taken. Nothing is appended, nobody is answered, and no callback of
// the log waits, under any of them.
package group
