// Package config holds the settings of a broker and of its topics: Kafka 3.9's
// names, types, units, defaults and rules, in one table that server.properties,
// DescribeConfigs and AlterConfigs all read.
//
// [Load] turns a properties file and overrides into [Settings], or into an
// error that names the property, the value given and what is accepted. Settings
// resolve every property through the layers Kafka has, strongest first: the
// topic's own value, this broker's dynamic value, the cluster-wide dynamic
// default, the file, the built-in default. [Broker] and [Topic] are immutable
// snapshots of the result; code keeps a pointer for one operation and asks
// again for the next.
package config
