// Package protocol holds what all of Kafka's requests have in common: frames,
// headers, API keys, and the names of topics and partitions. The requests and
// responses themselves are franz-go's kmsg types.
package protocol
