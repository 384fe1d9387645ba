package group

import "math"

// maxString is the longest string, in bytes, that a record of __consumer_offsets can
// hold.
const maxString = math.MaxInt16
