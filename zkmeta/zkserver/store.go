package zkserver

import "errors"

// ErrNoRoom is wrapped by the error of a commit for which the disk is too full.
// Nothing of it was applied, and the store is as good as before.
var ErrNoRoom = errors.New("no room for the ZooKeeper store")

// Bucket separates the kinds of entries in a store.
type Bucket uint8

// The buckets. Keys are paths, session ids in 16 hexadecimal digits, and names.
const (
	BucketMeta Bucket = iota
	BucketNodes
	BucketSessions
)

// Entry is one stored key with its value.
type Entry struct {
	Bucket Bucket
	Key    string
	Value  []byte
}

// Change sets a key, or deletes it if Value is nil.
type Change = Entry

// Store keeps the server's state over restarts: a map per bucket, changed in
// atomic, durable batches. OpenBolt returns one on disk, NewMemStore one that
// lives as long as the process. A server calls it from one goroutine at a time.
type Store interface {
	// Load calls visit for every entry, in any order, and returns visit's
	// first error. The value is valid only during the call.
	Load(visit func(Entry) error) error
	// Commit applies all changes or none, and returns when they will outlive
	// a loss of power. No two changes have the same bucket and key. The store
	// may keep the values. After ErrNoRoom the server takes the batch back.
	// After any other error it is unknown what was applied: the server then
	// stops for good and reveals nothing of the batch.
	Commit([]Change) error
	// HasRoom reports, after ErrNoRoom, whether commits can succeed again.
	HasRoom() bool
	// Close releases the store. It does not belong to the server: whoever
	// opened the store closes it, after Server.Stop.
	Close() error
}
