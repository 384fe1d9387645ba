package statelog

// PartitionFor is the partition that a name belongs to in a topic with so many: what
// Java's String.hashCode says of it, modulo their number.
func PartitionFor(name string, partitions int32) int32 {
	h := javaHash(name)
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
