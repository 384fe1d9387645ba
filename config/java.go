package config

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// What Java's own parsing and printing of values does, where it is not what
// Go's does: values travel between brokers as text and must come out the same.

// trim takes off what Java's String.trim does: everything up to U+0020.
func trim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
}

var doublePattern = regexp.MustCompile(`^[+-]?(NaN|Infinity|((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[fFdD]?))$`)

// parseDouble is Double.parseDouble without its hexadecimal form.
func parseDouble(s string) (float64, bool) {
	if !doublePattern.MatchString(s) {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.TrimRight(s, "fFdD"), 64)
	if math.IsInf(f, 0) { // out of range is infinity in Java and no error
		return f, true
	}
	return f, err == nil
}

// formatDouble is Double.toString: at least one digit after the point, and
// computerized scientific notation outside 10⁻³ … 10⁷.
func formatDouble(f float64) string {
	switch abs := math.Abs(f); {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case abs == 0 || abs >= 1e-3 && abs < 1e7:
		return withPoint(strconv.FormatFloat(f, 'f', -1, 64))
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	n, _ := strconv.Atoi(exponent) // FormatFloat wrote it
	return withPoint(mantissa) + "E" + strconv.Itoa(n)
}

func withPoint(s string) string {
	if strings.Contains(s, ".") {
		return s
	}
	return s + ".0"
}

// splitList splits a list value as Kafka does: at commas, spaces around them
// dropped, empty items kept; an empty text is an empty list.
func splitList(s string) []string {
	if s = trim(s); s == "" {
		return nil
	}
	items := strings.Split(s, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// splitNonEmpty is splitList without the empty items.
func splitNonEmpty(s string) []string {
	var kept []string
	for _, item := range splitList(s) {
		if item != "" {
			kept = append(kept, item)
		}
	}
	return kept
}
