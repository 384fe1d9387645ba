package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// validator is a rule on top of a property's kind. check gets the canonical
// text; a message that is not empty says what is wrong, in Kafka's words, and
// shown is the value as Kafka shows it there.
type validator interface {
	check(name, canonical string) (shown, message string)
	accepts(k kind) string
}

type numberRange struct {
	min, max float64
	bounded  bool // max counts
}

func atLeast(least float64) validator       { return numberRange{min: least} }
func between(least, most float64) validator { return numberRange{min: least, max: most, bounded: true} }

func (r numberRange) check(_, canonical string) (string, string) {
	n, _ := parseDouble(canonical) // the kind has parsed it before
	if n < r.min {
		return canonical, "Value must be at least " + plain(r.min)
	}
	if r.bounded && n > r.max {
		return canonical, "Value must be no more than " + plain(r.max)
	}
	return "", ""
}

func (r numberRange) accepts(k kind) string {
	what := "a number"
	if bits := kindBits[k]; bits != 0 {
		what = "a whole number"
		if !r.bounded {
			return fmt.Sprintf("%s from %s to %d", what, plain(r.min), int64(1)<<(bits-1)-1)
		}
	}
	if !r.bounded {
		return fmt.Sprintf("%s, at least %s", what, plain(r.min))
	}
	return fmt.Sprintf("%s from %s to %s", what, plain(r.min), plain(r.max))
}

func plain(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// gzipLevel is 1 to 9, or −1 for the codec's own default.
type gzipLevel struct{}

func (gzipLevel) check(_, canonical string) (string, string) {
	if n, _ := strconv.Atoi(canonical); n == -1 || n >= 1 && n <= 9 {
		return "", ""
	}
	return canonical, "Value must be between 1 and 9 or equal to -1"
}

func (gzipLevel) accepts(kind) string { return "a whole number from 1 to 9, or -1" }

// oneOf accepts exactly these texts, or for a list property any list of them.
type oneOf []string

func (o oneOf) check(_, canonical string) (string, string) {
	if slices.Contains(o, canonical) {
		return "", ""
	}
	return canonical, "String must be one of: " + strings.Join(o, ", ")
}

func (o oneOf) accepts(kind) string { return "one of " + strings.Join(o, ", ") }

// listOf accepts a list of these texts.
type listOf []string

func (l listOf) check(_, canonical string) (string, string) {
	for _, item := range splitList(canonical) {
		if !slices.Contains(l, item) {
			return item, "String must be one of: " + strings.Join(l, ", ")
		}
	}
	return "", ""
}

func (l listOf) accepts(kind) string {
	return "a comma-separated list of " + strings.Join(l, ", ")
}

// throttledReplicas is the format of the replication throttles' lists.
type throttledReplicas struct{}

var throttledReplica = regexp.MustCompile(`^([0-9]+:[0-9]+)?$`)

func (throttledReplicas) check(name, canonical string) (string, string) {
	items := splitList(canonical)
	wellFormed := true
	for _, item := range items {
		wellFormed = wellFormed && throttledReplica.MatchString(item)
	}
	if wellFormed || strings.Join(items, "") == "*" {
		return "", ""
	}
	return "[" + strings.Join(items, ", ") + "]",
		name + " must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."
}

func (throttledReplicas) accepts(kind) string {
	return "* or a comma-separated list of partition:broker"
}

// release is a release of Kafka by number ("3.9") or with its internal version
// ("3.9-IV0").
type release struct{}

// releases lists how many internal versions each release had that Kafka 3.9
// knows. The oldest three had none.
var releases = map[string]int{
	"0.8.0": 0, "0.8.1": 0, "0.8.2": 0, "0.9.0": 0, "0.10.0": 2, "0.10.1": 3, "0.10.2": 1, "0.11.0": 3,
	"1.0": 1, "1.1": 1, "2.0": 2, "2.1": 3, "2.2": 2, "2.3": 2, "2.4": 2, "2.5": 1, "2.6": 1, "2.7": 3, "2.8": 2,
	"3.0": 2, "3.1": 1, "3.2": 1, "3.3": 4, "3.4": 1, "3.5": 3, "3.6": 3, "3.7": 5, "3.8": 1, "3.9": 1, "4.0": 2,
}

// split returns the release and the internal version of a text, which may name
// a bug-fix release too ("3.9.2" is 3.9). iv is −1 where none is given.
func (release) split(text string) (number string, iv int, ok bool) {
	segments := strings.Split(text, ".")
	keep := 2
	if strings.HasPrefix(text, "0.") {
		keep = 3
	}
	if len(segments) > keep {
		segments = segments[:keep]
	}
	number, suffix, hasIV := strings.Cut(strings.Join(segments, "."), "-IV")
	count, known := releases[number]
	if !known {
		return "", 0, false
	}
	if !hasIV {
		return number, -1, true
	}
	iv, err := strconv.Atoi(suffix)
	return number, iv, err == nil && iv >= 0 && iv < count
}

func (r release) check(_, canonical string) (string, string) {
	if _, _, ok := r.split(canonical); !ok {
		return canonical, "Version " + canonical + " is not a valid version"
	}
	return "", ""
}

func (release) accepts(kind) string { return "a release of Kafka such as 3.9 or 3.9-IV0" }
