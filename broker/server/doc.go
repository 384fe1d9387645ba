// Package server owns the broker's sockets: it accepts connections, reads
// bounded frames, hands each request to the route of its API key, and writes
// the replies in the order of the requests.
//
// # Who does what, and in which goroutine
//
// Every connection has one reader goroutine. It reads a frame, finds the route,
// and runs the handler to its end before it looks at the next frame, so what a
// client sees is Kafka's rule: one request at a time per connection, answered
// in order. There is one exception, which a client cannot tell from the rule: a
// handler whose work is done except for waiting (a Produce with acks=all after
// its append) puts its prepared reply into a slot with [Request.Hold] and
// returns. While such slots are outstanding, the reader goes on with requests of
// a key whose route says Overlap, and holds back every other key until all slots
// are written.
//
// A handler that does not know its answer yet (a Fetch for which there are no records)
// takes a place in line with [Request.Later] and returns, too. So the reader waits for
// the next request, for which nobody wakes it but the client, and hears at once when the
// client goes; and whoever has the answer sends it.
//
// With nothing outstanding the reader writes a reply itself. So does whoever completes the
// only wait of a connection, as far as the socket takes it at once: nobody blocks on the
// socket of somebody else. Otherwise a flusher goroutine is started when the oldest slot
// becomes ready, writes all ready replies with one writev, and ends when there are none.
//
// Before the broker is ready, only brokers are served, see [Server.Open].
//
// # What bounds memory
//
//   - a frame: MaxFrameBytes for Produce and for inter-broker keys on listeners
//     that accept them, MaxClientFrameBytes for the rest;
//   - a frame that is announced but not sent: memory follows the bytes that have
//     come, and what a connection gets at once is what it has sent before;
//   - all frames together: InFlightBytes;
//   - replies and waits on one connection: ConnectionInFlightBytes;
//   - what handlers make of large requests: WorkBytes, see [Request.Reserve], and as
//     much again while they wait for something to happen, see [Request.MayWait];
//   - replies on their way: UnsentBytes. Beyond, peers that do not read are closed.
//
// When a limit is reached, the reader stops reading and TCP holds the peer back.
package server
