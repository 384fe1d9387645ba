// Package nowait makes system calls that do not wait, without telling the Go scheduler.
//
// Around every system call the runtime keeps books, so that it can give the processor of
// one that waits to other goroutines; a thread that monitors them looks after 20 µs, and
// again, until all are idle. A broker that answers a request and is idle until the next
// wakes that thread each time, and has it wake several times more: a quarter of the
// processor time that consuming took. A call that only copies memory needs none of this:
// one to a socket that does not block, or for bytes of a file that are in the page cache.
// (A write to the page cache may wait after all; see Pwrite.)
//
// The price: such a call cannot be interrupted to collect garbage. So none is for more
// than maxPiece bytes, which the kernel copies in some tenths of a millisecond.
//
// Errors are of type syscall.Errno. EINTR is not among them: it is tried again.
package nowait

// maxPiece is the most that one call moves.
const maxPiece = 1 << 20 // bytes
