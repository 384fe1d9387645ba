package main

import (
	"fmt"
	"math"
)

// aim is what the broker is to reach: limit at most, or, if it is one of speed, at least.
// measured returns the median that counts and which cell it is of: where an aim is for
// many cells, the worst.
type aim struct {
	what     string
	limit    float64
	unit     string
	measured func(r *Results) (value float64, where string)
	atLeast  bool
}

// speed is an aim of transactions a second.
func speed(what, scenario string, producers int, limit float64) aim {
	return aim{what: what, limit: limit, unit: "/s", atLeast: true, measured: func(r *Results) (float64, string) {
		return r.of(scenario).cell(transactionsCell(producers)).median(ours, transactionsASecond), ""
	}}
}

// The aims of three brokers, which stand in their tables, too. The processor time and
// the memory are of all three together.
const (
	clusterProduceAim = 9   // s/GB
	clusterLatencyAim = 20  // ms, p99
	failoverAim       = 2   // s
	shutdownAim       = 1   // s
	clusterMemoryAim  = 150 // MB
)

func aims() []aim {
	overFloor := func(c Cell, subject, to, value string) float64 { return c.overFloor(subject, to, value).value }
	any := func(Cell) bool { return true }
	uncompressed := func(c Cell) bool { return c.Is["codec"] == "none" }
	large := func(c Cell) bool { return uncompressed(c) && c.Is["batch"] != sizeName(smallBatch) }
	small := func(c Cell) bool { return uncompressed(c) && c.Is["batch"] == sizeName(smallBatch) }
	oneAtATime := func(c Cell) bool { return c.Is["fetch"] == sizeName(batchAtATime) }
	manyAtATime := func(c Cell) bool { return small(c) && !oneAtATime(c) }
	compressed := func(c Cell) bool { return c.Is["codec"] != "" && !uncompressed(c) }
	return []aim{
		{"produce, large batches: processor time over the floor, of Kafka's", 0.3, "", worst("produce", large, overFloor, cpuPerGB), false},
		{"produce, batches of 16 KiB: whole processor time, of Kafka's", 0.4, "", worst("produce", small, Cell.ratio, cpuPerGB), false},
		{"produce, compressed: whole processor time, of Kafka's", 0.4, "", worst("produce", compressed, Cell.ratio, cpuPerGB), false},
		{"consume: processor time over the floor, of Kafka's", 0.4, "", worst("consume", any, overFloor, cpuPerGB), false},
		{"consume, batches of 16 KiB, one a fetch: whole processor time, of Kafka's", 0.4, "", worst("consume", oneAtATime, Cell.ratio, cpuPerGB), false},
		{"consume, batches of 16 KiB, 1 MiB a fetch: whole processor time, of Kafka's", 0.4, "", worst("consume", manyAtATime, Cell.ratio, cpuPerGB), false},
		{"consume, compressed: whole processor time, of Kafka's", 0.4, "", worst("consume", compressed, Cell.ratio, cpuPerGB), false},
		{"end to end, p99, of Kafka's", 0.25, "", func(r *Results) (float64, string) {
			return r.of("latency").cell(latencyCell).ratio(ours, kafka, p99), ""
		}, false},
		{"from exec to the first acknowledged record", 150, "ms", func(r *Results) (float64, string) {
			return r.of("startup").cell(startupCell).median(ours, firstRecord), ""
		}, false},
		{"resident when idle", 20, "MB", func(r *Results) (float64, string) {
			return r.of("memory").cell(afterStart).median(ours, resident), ""
		}, false},
		{"resident at the most, under all that is measured here", 100, "MB", worstPeak, false},
		{"an idle fetch over 10,000 partitions, of one over 10", 2, "", func(r *Results) (float64, string) {
			m := r.of("partitions")
			return m.cell(fetchOfAll).median(ours, cpuPerFetch) / m.cell(fetchOfFew).median(ours, cpuPerFetch), ""
		}, false},
		{"a commit: processor time, of Kafka's", groupCommitAim, "", worst("group-commits", any, Cell.ratio, cpuPerCommit), false},
		speed("transactions of one producer", "transactions", 1, transactionAims[1]),
		speed("transactions of eight producers", "transactions", 8, transactionAims[8]),
		{"three brokers: processor time of producing, per GB", clusterProduceAim, "s", worstOfOurs("cluster-produce", cpuPerGB), false},
		{"three brokers: end to end, p99", clusterLatencyAim, "ms", worstOfOurs("cluster-latency", p99), false},
		{"three brokers: until others lead what a dead controller led", failoverAim, "s", worstOfOurs("cluster-failover", leadersMoved), false},
		{"three brokers: from SIGTERM to exit with 1,000 leaderships", shutdownAim, "s", worstOfOurs("cluster-shutdown", untilExit), false},
		speed("three brokers: transactions of eight producers", "cluster-transactions", 8, clusterTransactionAims[8]),
		{"three brokers: resident in all, at the most", clusterMemoryAim, "MB", worstOfOurs("cluster-memory", peakOfAll), false},
	}
}

// worst is the greatest of the ratios of a value of some cells.
func worst(scenario string, which func(Cell) bool, of func(c Cell, subject, to, value string) float64, what string) func(*Results) (float64, string) {
	return func(r *Results) (value float64, where string) {
		value = math.NaN()
		for _, c := range r.of(scenario).Cells {
			if !which(c) {
				continue
			}
			if m := of(c, ours, kafka, what); !math.IsNaN(m) && !(m <= value) {
				value, where = m, c.Name
			}
		}
		return value, where
	}
}

// worstOfOurs is the greatest median of one of our values in the cells of a scenario.
func worstOfOurs(scenario, of string) func(*Results) (float64, string) {
	return func(r *Results) (value float64, where string) {
		value = math.NaN()
		for _, c := range r.of(scenario).Cells {
			if m := c.median(ours, of); !math.IsNaN(m) && !(m <= value) {
				value, where = m, c.Name
			}
		}
		return value, where
	}
}

// worstPeak is the greatest peak of our resident memory in all scenarios.
func worstPeak(r *Results) (value float64, where string) {
	value = math.NaN()
	for _, m := range r.Scenarios {
		for _, c := range m.Cells {
			for _, subject := range []string{ours, oursFull} {
				for _, v := range c.column(subject, peak) {
					if math.IsNaN(value) || v > value {
						value, where = v, m.Scenario
					}
				}
			}
		}
	}
	return value, where
}

// met says whether a measured value reaches the aim.
func (a aim) met(value float64) string {
	switch {
	case math.IsNaN(value):
		return "not measured"
	case value == a.limit, value < a.limit != a.atLeast:
		return "met"
	default:
		return "**missed**"
	}
}

func aimsTable(r *Results) string {
	var rows [][]string
	for _, a := range aims() {
		value, where := a.measured(r)
		shown := number(value) // three digits, so that a narrow miss does not look like the limit
		if a.unit != "" && !math.IsNaN(value) {
			shown += " " + a.unit
		}
		limit := fmt.Sprint("≤ ", a.limit)
		if a.atLeast {
			limit = fmt.Sprint("≥ ", a.limit)
		}
		if a.unit != "" {
			limit += " " + a.unit
		}
		rows = append(rows, []string{a.what, where, limit, shown, a.met(value)})
	}
	return table("llrrl", []string{"Aim", "worst of", "Limit", "measured", ""}, rows)
}
