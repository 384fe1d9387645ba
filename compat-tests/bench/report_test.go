package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gracchus-mq/gracchus/compat-tests/harness"
)

func TestTable(t *testing.T) {
	got := table("lr", []string{"What", "µs"}, [][]string{{"a", "1.50"}, {"longer than that", "10,000"}})
	want := `| What             |     µs |
| ---------------- | -----: |
| a                |   1.50 |
| longer than that | 10,000 |
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.000", 0.1234: "0.123", 1.236: "1.24", 12.34: "12.3", 123.4: "123", 4321: "4321", 12345.6: "12,346", 1000001: "1,000,001", math.NaN(): "–", math.Inf(1): "–",
	} {
		if got := number(v); got != want {
			t.Errorf("%v is shown as %s, not %s", v, got, want)
		}
	}
	for want, ratios := range map[string][]float64{"–": nil, "0.25": {0.25}, "0.30 (0.20–4.00)": {4, 0.2, 0.3}, "12.0": {12}, "0.00 (0.00–0.0010)": {-0.001, -0.002, 0.00104}} {
		if got := spread(ratios); got != want {
			t.Errorf("%v is shown as %s, not %s", ratios, got, want)
		}
	}
}

func TestBetweenMarkers(t *testing.T) {
	page := "# Page\n<!-- aims: written by scripts/bench report -->\nold\n<!-- end of aims -->\nrest\n"
	want := "# Page\n<!-- aims: written by scripts/bench report -->\n\nnew\n\n<!-- end of aims -->\nrest\n"
	for range 2 { // the second time it replaces what it wrote
		var err error
		if page, err = between(page, "aims", "new\n"); err != nil || page != want {
			t.Fatalf("%v\n%s", err, page)
		}
	}
	for _, broken := range []string{"", strings.Replace(page, "end of aims", "end", 1), strings.Replace(page, "aims: ", "", 1)} {
		if _, err := between(broken, "aims", "new"); err == nil || !strings.Contains(err.Error(), "aims") {
			t.Errorf("in a page without both markers: %v\n%s", err, broken)
		}
	}
}

// measuredOnce has a run of produce with two cells, of which the second is worse.
func measuredOnce() *Results {
	cell := func(batch, codec string, us float64) Cell {
		c := Cell{Name: batch + " " + codec, Is: map[string]string{"record": "1 KiB", "batch": batch, "codec": codec, "acks": "all"}}
		for range 3 {
			c.Rounds = append(c.Rounds, Round{ours: {cpuPerGB: us, rate: 300, batchIs: 1000}, oursFull: {cpuPerGB: 2 * us}, kafka: {cpuPerGB: 11, rate: 100}, theFloor: {cpuPerGB: 1}})
		}
		return c
	}
	r := &Results{}
	r.put(Measured{Scenario: "produce", Run: Run{Date: "2026-01-02", Scale: "full", Load: 3}, Cells: []Cell{
		cell("1 MiB", "none", 3), cell("1 MiB", "none", 5), cell("16 KiB", "none", 2.2), cell("1 MiB", "zstd", 3.3),
		{Name: memoryCell, Rounds: []Round{{ours: {peak: 60}, oursFull: {peak: 120}, kafka: {peak: 600}}}},
	}})
	read := func(name, fetch string, us float64) Cell {
		c := cell(sizeName(smallBatch), "none", us)
		c.Name, c.Is["fetch"] = name, fetch
		return c
	}
	r.put(Measured{Scenario: "consume", Cells: []Cell{read("many", "1 MiB", 8), read("one", "16 KiB", 3.3)}})
	r.put(Measured{Scenario: "group-commits", Cells: []Cell{
		{Name: memoryCell, Rounds: []Round{{ours: {peak: 60}, kafka: {peak: 600}}}},
		{Name: commitCell(8), Rounds: []Round{{ours: {cpuPerCommit: 20}, kafka: {cpuPerCommit: 100}}}},
		{Name: commitCell(500), Rounds: []Round{{ours: {cpuPerCommit: 30}, kafka: {cpuPerCommit: 100}}}},
	}})
	r.put(Measured{Scenario: "transactions", Cells: []Cell{
		{Name: transactionsCell(1), Rounds: []Round{{ours: {transactionsASecond: 700}}}},
		{Name: transactionsCell(8), Rounds: []Round{{ours: {transactionsASecond: 2400}}}},
	}})
	r.put(Measured{Scenario: "latency", Cells: []Cell{{Name: latencyCell, Rounds: []Round{{ours: {p99: 2}, kafka: {p99: 10}}}}}})
	return r
}

func TestAims(t *testing.T) {
	narrow := regexp.MustCompile(" +")
	got := narrow.ReplaceAllString(aimsTable(measuredOnce()), " ")
	for _, want := range []string{
		"produce, large batches: processor time over the floor, of Kafka's | 1 MiB none | ≤ 0.3 | 0.400 | **missed**",
		"produce, batches of 16 KiB: whole processor time, of Kafka's | 16 KiB none | ≤ 0.4 | 0.200 | met",
		"produce, compressed: whole processor time, of Kafka's | 1 MiB zstd | ≤ 0.4 | 0.300 | met",
		"consume: processor time over the floor, of Kafka's | many | ≤ 0.4 | 0.700 | **missed**",
		"consume, batches of 16 KiB, one a fetch: whole processor time, of Kafka's | one | ≤ 0.4 | 0.300 | met",
		"consume, batches of 16 KiB, 1 MiB a fetch: whole processor time, of Kafka's | many | ≤ 0.4 | 0.727 | **missed**",
		"consume, compressed: whole processor time, of Kafka's | | ≤ 0.4 | – | not measured",
		"end to end, p99, of Kafka's | | ≤ 0.25 | 0.200 | met",
		"a commit: processor time, of Kafka's | 500 groups | ≤ 0.25 | 0.300 | **missed**",
		"transactions of one producer | | ≥ 600 /s | 700 /s | met",
		"transactions of eight producers | | ≥ 2500 /s | 2400 /s | **missed**",
		"resident at the most, under all that is measured here | produce | ≤ 100 MB | 120 MB | **missed**",
	} {
		if !strings.Contains(got, "| "+want+" |\n") {
			t.Errorf("the aims have no line\n%s\nThey are\n%s", want, got)
		}
	}
}

func TestReport(t *testing.T) {
	docs := t.TempDir()
	page := "# Performance\n"
	for _, name := range append([]string{"runs", "aims"}, names(scenarios())...) {
		page += "<!-- " + name + ": written by scripts/bench report -->\n<!-- end of " + name + " -->\n"
	}
	if err := os.WriteFile(filepath.Join(docs, "performance.md"), []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeReport(docs, measuredOnce()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(docs, "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"- produce: 2026-01-02, `scripts/bench full`",
		"busy with other things (load 3.0)",
		"![Producing, not compressed](performance/produce.svg)",
		"| 1 KiB   | 16 KiB  | all  |        1.00 |     2.20 |  11.0 |  1.00 | 0.20 (0.20–0.20) | 0.12 (0.12–0.12) | 300 / 100 |",
		"| 1 MiB   | zstd  |        1.00 |   3.30 | 6.60 |  11.0 |  1.00 |   0.30 (0.30–0.30) | 0.60 (0.60–0.60) |",
		"Not measured yet.",
	} {
		if !strings.Contains(string(content), want) {
			t.Errorf("the page has no %q:\n%s", want, content)
		}
	}
	for _, name := range []string{"produce.svg", "produce-2.svg", "latency.svg"} {
		svg, err := os.ReadFile(filepath.Join(docs, "performance", name))
		if err != nil {
			t.Fatal(err)
		}
		wellFormed(t, string(svg))
	}
}

func wellFormed(t *testing.T, svg string) {
	t.Helper()
	for decoder := xml.NewDecoder(strings.NewReader(svg)); ; {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("the picture is no XML: %v\n%s", err, svg)
		}
	}
}

// TestPageIsWhatReportWrites fails if the page in docs, or a chart, was changed by
// hand or not written again after the code was.
func TestPageIsWhatReportWrites(t *testing.T) {
	docs := filepath.Join(harness.Repository(), "docs")
	again := t.TempDir()
	if err := os.CopyFS(again, os.DirFS(docs)); err != nil {
		t.Fatal(err)
	}
	r, err := readResults(resultsFile(docs))
	if err != nil {
		t.Fatal(err)
	}
	if err := writeReport(again, r); err != nil {
		t.Fatal(err)
	}
	err = fs.WalkDir(os.DirFS(again), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		want, err := os.ReadFile(filepath.Join(again, name))
		if err != nil {
			return err
		}
		if got, err := os.ReadFile(filepath.Join(docs, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("docs/%s is not what scripts/bench report writes", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
