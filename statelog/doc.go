// Package statelog is what coordinators share that keep their state in a topic, of
// which each coordinates what belongs to the partitions that its broker leads: the log
// is the truth, and what is in memory was read from it or acknowledged by it.
//
//	partition_for.go   which partition a name belongs to
//	leaderships.go     which partitions are led here
//	appender.go        writing to one partition
//	alarm.go           calling a state machine when something is due
//	log.go             what is needed of the log, and reading it
//	loads.go           when and how often it is read
//	fields.go          the primitive fields of records
package statelog
