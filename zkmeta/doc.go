// Package zkmeta is the cluster's state as it stands in ZooKeeper: the layout
// of Apache Kafka 3.9 in ZooKeeper mode, so that brokers of both kinds can share
// one cluster.
//
// One file describes one kind of znode: its path, its content, and what is done
// with it. Encoders write exactly Kafka's set of fields, with Kafka's types, and
// refuse to write anything that a Kafka broker could not read: a node that does
// not parse stops other brokers from starting and makes every elected controller
// resign ("poison"). Decoders take what Kafka's decoders take: unknown keys are
// ignored (one legacy node is strict, and says so), keys match exactly, and bytes
// from outside never panic.
//
// Client adds the protocols that need more than one operation: registration, the
// controller's election, fenced writes. It decides nothing by itself; what is
// written, and when, is the business of the controller and of topics.
//
// Missing data (nil, which travels as length -1) and empty data ([]byte{}) are two
// different things in ZooKeeper, and Kafka's readers tell them apart. They are kept
// apart everywhere in this package.
package zkmeta
