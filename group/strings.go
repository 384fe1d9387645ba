package group

import "unicode/utf8"

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
