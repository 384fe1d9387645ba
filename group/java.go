package group

import "unicode/utf8"

// PartitionFor is the partition of __consumer_offsets that a group belongs to: what
// Java's String.hashCode says of its id, modulo the number of partitions.
func PartitionFor(group string, partitions int32) int32 {
	h := javaHash(group)
	if h < 0 {
		h = -h // of −2³¹ it is −2³¹ again, for which Kafka takes 0
	}
	return max(h, 0) % partitions
}

// javaHash is String.hashCode, which goes over UTF-16 units.
func javaHash(s string) (h int32) {
	for _, r := range s {
		if r >= 0x10000 {
			h = 31*h + 0xd800 + (r-0x10000)>>10
			r = 0xdc00 + (r-0x10000)&0x3ff
		}
		h = 31*h + r
	}
	return h
}

// longerThan reports whether a string has more than limit UTF-16 units, which are
// what Java counts as its length.
func longerThan(s string, limit int) bool {
	if len(s) <= limit { // each unit takes a byte at least
		return false
	}
	units := utf8.RuneCountInString(s)
	for _, r := range s {
		if r >= 0x10000 {
			units++
		}
	}
	return units > limit
}
