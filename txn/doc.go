// Package txn coordinates transactions: which producer a transactional id has now, which
// partitions its transaction is in, and how it ends, as Kafka 3.9 does. docs/transactions.md
// says where it does better.
//
// # What is where
//
// The state machine of one transactional id, which is pure:
//
//	transaction.go    the state, and changes on their way to the log
//	request.go        requests, and those that wait
//	init.go           InitProducerId
//	add.go            AddPartitionsToTxn and AddOffsetsToTxn, and verification
//	end.go            EndTxn, timeouts, and what follows the markers
//	expiry.go         ids that nobody uses
//	effects.go        what a step asks for
//
// The coordinator:
//
//	coordinator.go    its life, and finding an id
//	requests.go, list.go   the requests
//	partition.go      one leadership
//	hosted.go         one id: its mutex and its alarm
//	load.go, loader.go     reading one partition of the log
//	scan.go           looking for timeouts and expired ids
//	budget.go         what all ids may take in memory
//	settings.go
//
// Phase two: markers.go is which partitions are still to be told of the ends of
// transactions, outbox.go tells their leaders.
//
// Records of __transaction_state: record.go.
//
// # Locks
//
// An id's mutex comes first; under it a write is put into the appender's line, by the
// appender's own. A partition's mutex guards its table of ids and is never held while an
// id's is taken, nor is that of the markers. Nothing is appended or sent, nobody is
// answered, and no callback of the log waits, under any of them.
package txn
