package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// table renders Markdown that can be read as it is. align has l or r for each
// column.
func table(align string, header []string, rows [][]string) string {
	widths := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 4)
		}
	}
	var out strings.Builder
	line := func(row []string) {
		for i, cell := range row {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if align[i] == 'l' {
				cell += space
			} else {
				cell = space + cell
			}
			fmt.Fprintf(&out, "| %s ", cell)
		}
		out.WriteString("|\n")
	}
	line(header)
	rule := make([]string, len(header))
	for i := range rule {
		rule[i] = strings.Repeat("-", widths[i])
		if align[i] == 'r' {
			rule[i] = rule[i][1:] + ":"
		}
	}
	line(rule)
	for _, row := range rows {
		line(row)
	}
	return out.String()
}

// missing stands for what was not measured.
const missing = "–"

// number has three digits that count.
func number(v float64) string {
	switch size := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return missing
	case size >= 10000:
		return thousands(fmt.Sprintf("%.0f", v))
	case size >= 100:
		return fmt.Sprintf("%.0f", v)
	case size >= 10:
		return fmt.Sprintf("%.1f", v)
	case size >= 1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}

// thousands parts groups of three digits.
func thousands(digits string) string {
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

// ratio shows a fraction of Kafka's with two digits after the point, or as many as
// there must be.
func ratio(v float64) string {
	if math.IsNaN(v) {
		return missing
	}
	if math.IsInf(v, 1) {
		return "∞"
	}
	if v >= 10 {
		return number(v)
	}
	if v > 0 && v < 0.01 {
		return fmt.Sprintf("%.4f", v)
	}
	return fmt.Sprintf("%.2f", math.Round(v*100)/100+0) // + 0: no -0.00
}

// spread is the median of ratios, with the least and the greatest.
func spread(ratios []float64) string {
	if len(ratios) == 0 {
		return missing
	}
	if len(ratios) == 1 {
		return ratio(ratios[0])
	}
	return fmt.Sprintf("%s (%s–%s)", ratio(median(ratios)), ratio(slices.Min(ratios)), ratio(slices.Max(ratios)))
}

// String shows an estimate of a ratio.
func (e estimate) String() string {
	if math.IsNaN(e.value) {
		return missing
	}
	return fmt.Sprintf("%s (%s–%s)", ratio(e.value), ratio(e.low), ratio(e.high))
}

// aimedTable has rows that are made by aimed.
func aimedTable(rows ...[]string) string {
	return table("lrrrr", []string{"", "Aim", "Gracchus", "Kafka", "Of Kafka's"}, rows)
}

// aimed is a row with what is the most for ours; 0: nothing is aimed at.
func (c Cell) aimed(what, value string, aim float64) []string {
	limit := ""
	if aim > 0 {
		limit = fmt.Sprint(aim)
	}
	return []string{what, limit, number(c.median(ours, value)), number(c.median(kafka, value)), spread(c.ratios(ours, kafka, value))}
}

// pair of medians of one value, ours and Kafka's.
func (c Cell) pair(value string) string {
	return number(c.median(ours, value)) + " / " + number(c.median(kafka, value))
}
