// Package session is a ZooKeeper client made for a broker.
//
// What a broker needs from it beyond reading and writing nodes is certainty about
// sessions: every operation can be tied to the session that it was planned in, the
// end of a session is told before the next one is used, and a broker that cannot
// reach ZooKeeper knows when others may have declared it dead.
package session
