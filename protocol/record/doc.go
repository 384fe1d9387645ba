// Package record reads, checks and builds record batches of Kafka's message
// format 2 (KIP-98), the unit in which records travel and are stored.
//
// A batch is used where it lies: accessors read fields from its bytes, the few
// fields that a broker assigns are patched in place, and records are walked
// without copying. Base offset and leader epoch stand before the checksummed
// part, so that assigning them costs nothing.
package record
