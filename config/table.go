package config

import "slices"

// The table: every broker property, and every topic property, once. Both are
// read-only after the package is loaded.
var (
	brokerTable = index(slices.Concat(listenerProperties, identityProperties, zooKeeperProperties, topicDefaultProperties, logProperties,
		replicationProperties, requestProperties, coordinatorProperties, securityProperties, otherProperties, ownProperties))
	topicTable = index(topicProperties)
)

// ownProperties are Gracchus's: what Kafka has no property for.
var ownProperties = []property{
	{name: "record.validation", kind: kindString, value: "header", valid: oneOf{"header", "full"}, own: true,
		doc: "How closely produced batches are looked at: header checks the batch and opens a compressed one only where it must; full opens every batch and checks each record, as Kafka does."},
	{name: "gracchus.zookeeper.listen", kind: kindString, value: "", own: true,
		doc: "host:port on which the embedded ZooKeeper is open to other brokers and to tools; empty: it is not. It has no access control."},
	{name: "gracchus.log.reserve.bytes", kind: kindLong, value: "16777216", valid: atLeast(0), own: true,
		doc: "The room that is kept in each log directory, as a file, for what must be written when the disk is full: everything but records; 0: none."},
	{name: "gracchus.group.memory.bytes", kind: kindLong, value: "0", valid: atLeast(0), own: true,
		doc: "What consumer groups and their committed offsets may take in memory, after which they do not grow; 0 is a quarter of what the heap may take."},
	{name: "gracchus.transaction.memory.bytes", kind: kindLong, value: "0", valid: atLeast(0), own: true,
		doc: "What transactional ids may take in memory, after which there are no new ones; 0 is a sixteenth of what the heap may take."},
	{name: "gracchus.log.max.open.files", kind: kindInt, value: "0", valid: atLeast(0), own: true,
		doc: "The most files of logs that are open at a time; 0: half of what the process may open."},
}

// dynamicOnly are properties that can only be set while the broker runs.
var dynamicOnly = index([]property{
	{name: "leader.replication.throttled.rate", kind: kindLong, value: noLimit, valid: atLeast(0), status: noEffect},
	{name: "follower.replication.throttled.rate", kind: kindLong, value: noLimit, valid: atLeast(0), status: noEffect},
	{name: "replica.alter.log.dirs.io.max.bytes.per.second", kind: kindLong, value: noLimit, valid: atLeast(0), status: noEffect},
})

// table is a list of properties with an index by name.
type table struct {
	rows   []property
	byName map[string]*property
}

func index(rows []property) table {
	t := table{rows: rows, byName: make(map[string]*property, len(rows))}
	for i := range rows {
		t.byName[rows[i].name] = &rows[i]
	}
	return t
}
