package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// chart is a picture of horizontal bars in groups, as SVG.
type chart struct {
	title  string
	axis   string // what the values are, with their unit
	log    bool   // a logarithmic axis; values must be above 0
	groups []group
}

// group is what was measured of several subjects.
type group struct {
	label string
	bars  []bar
}

type bar struct {
	subject string
	value   float64
}

// Sizes in the picture's units, which are pixels of a usual screen.
const (
	chartWidth  = 820
	letterWidth = 7  // at the most, on average
	valueWidth  = 60 // right of the bars
	barHeight   = 13
	barGap      = 3
	groupGap    = 15
	chartTop    = 74 // title, legend and axis
	chartBottom = 34
)

// chartStyle has colours for light and for dark pages. The picture brings its own
// background, so that it can be read on a page of the other kind too.
const chartStyle = `
.page{fill:#ffffff}.ink{fill:#1f2328}.quiet{fill:#59636e}.grid{stroke:#d8dee4}
.s0{fill:#0b7285}.s1{fill:#7cc4cf}.s2{fill:#d9772b}.s3{fill:#a8b1ba}
text{font-family:-apple-system,'Segoe UI','Helvetica Neue',Arial,sans-serif;font-size:12px}
.title{font-size:15px;font-weight:600}.small{font-size:11px}
@media (prefers-color-scheme:dark){
.page{fill:#0d1117}.ink{fill:#e6edf3}.quiet{fill:#9198a1}.grid{stroke:#30363d}
.s0{fill:#2bb3c7}.s1{fill:#1b6a77}.s2{fill:#e8914a}.s3{fill:#5b646e}
}`

// chartSubjects in the order of the legend; their place gives their colour.
var chartSubjects = []struct{ subject, label string }{
	{ours, "Gracchus"},
	{oursFull, "Gracchus, record.validation=full"},
	{kafka, "Kafka 3.9.2"},
	{theFloor, "floor"},
}

// svg renders the chart. Bars without a value are left out.
func (c chart) svg() string {
	var body strings.Builder
	scale, left := c.scale(), c.labelWidth()
	x := func(v float64) float64 {
		return left + scale.place(v)*(chartWidth-left-valueWidth)
	}
	y := float64(chartTop)
	seen := map[string]bool{}
	for _, g := range c.groups {
		top := y
		for _, b := range g.bars {
			if math.IsNaN(b.value) {
				continue
			}
			seen[b.subject] = true
			length := math.Max(1.5, x(b.value)-left)
			fmt.Fprintf(&body, `<rect class="s%d" x="%.0f" y="%.0f" width="%.1f" height="%d" rx="2"/>`+"\n", colour(b.subject), left, y, length, barHeight)
			fmt.Fprintf(&body, `<text class="ink small" x="%.1f" y="%.1f">%s</text>`+"\n", left+length+5, y+barHeight-2.5, number(b.value))
			y += barHeight + barGap
		}
		fmt.Fprintf(&body, `<text class="ink" x="%.0f" y="%.1f" text-anchor="end">%s</text>`+"\n", left-10, (top+y-barGap)/2+4, html.EscapeString(g.label))
		y += groupGap
	}
	bottom := y - groupGap + 6

	var out strings.Builder
	height := int(bottom + chartBottom)
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		chartWidth, height, chartWidth, height, html.EscapeString(c.title))
	fmt.Fprintf(&out, "<style>%s\n</style>\n", chartStyle)
	fmt.Fprintf(&out, `<rect class="page" width="%d" height="%d" rx="6"/>`+"\n", chartWidth, height)
	fmt.Fprintf(&out, `<text class="ink title" x="20" y="28">%s</text>`+"\n", html.EscapeString(c.title))
	at := 20.0
	for i, s := range chartSubjects {
		if !seen[s.subject] {
			continue
		}
		fmt.Fprintf(&out, `<rect class="s%d" x="%.0f" y="42" width="11" height="11" rx="2"/><text class="quiet" x="%.0f" y="52">%s</text>`+"\n", i, at, at+17, s.label)
		at += 17 + letterWidth*float64(len(s.label)) + 14
	}
	for _, tick := range scale.ticks {
		fmt.Fprintf(&out, `<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%.1f"/>`+"\n", x(tick), chartTop-8, x(tick), bottom)
		fmt.Fprintf(&out, `<text class="quiet small" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`+"\n", x(tick), bottom+15, plain(tick))
	}
	fmt.Fprintf(&out, `<text class="quiet small" x="%.0f" y="%.1f" text-anchor="end">%s</text>`+"\n", left-24, bottom+15, html.EscapeString(c.axis))
	out.WriteString(body.String())
	out.WriteString("</svg>\n")
	return out.String()
}

// labelWidth is the room left of the bars.
func (c chart) labelWidth() float64 {
	longest := len(c.axis) + 2
	for _, g := range c.groups {
		longest = max(longest, len(g.label))
	}
	return float64(longest*letterWidth + 24)
}

func colour(subject string) int {
	for i, s := range chartSubjects {
		if s.subject == subject {
			return i
		}
	}
	return len(chartSubjects) - 1
}

// axisScale places values between 0 and 1.
type axisScale struct {
	ticks []float64
	place func(v float64) float64
}

func (c chart) scale() axisScale {
	least, most := math.Inf(1), 0.0
	for _, g := range c.groups {
		for _, b := range g.bars {
			if !math.IsNaN(b.value) {
				least, most = math.Min(least, b.value), math.Max(most, b.value)
			}
		}
	}
	if most == 0 {
		most = 1
	}
	if c.log && least > 0 {
		return logScale(least, most)
	}
	return linearScale(most)
}

// linearScale has four to seven ticks at round numbers.
func linearScale(most float64) axisScale {
	power := math.Pow(10, math.Floor(math.Log10(most/4)))
	step := power
	for _, times := range []float64{2, 5, 10} {
		if most/step > 7 {
			step = times * power
		}
	}
	s := axisScale{place: func(v float64) float64 { return v / most }}
	for i := 0; float64(i)*step <= most*1.0001; i++ {
		s.ticks = append(s.ticks, float64(i)*step)
	}
	return s
}

// logScale has a tick at each power of ten around the values.
func logScale(least, most float64) axisScale {
	from, to := math.Floor(math.Log10(least)-1e-9), math.Log10(most)
	s := axisScale{place: func(v float64) float64 { return (math.Log10(v) - from) / (to - from) }}
	for e := from; e <= to+1e-9; e++ {
		s.ticks = append(s.ticks, math.Pow(10, e))
	}
	return s
}

// plain is a tick's number without digits that say nothing.
func plain(v float64) string {
	if v >= 10000 {
		return number(v)
	}
	return strings.TrimSuffix(fmt.Sprintf("%.4g", v), ".0")
}

// group has the medians of one value of a cell as bars.
func (c Cell) group(label, value string) group {
	g := group{label: label}
	for _, s := range chartSubjects {
		if v := c.median(s.subject, value); !math.IsNaN(v) {
			g.bars = append(g.bars, bar{s.subject, v})
		}
	}
	return g
}
