package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func resultsFile(docs string) string { return filepath.Join(docs, "performance", "results.json") }

// writeReport puts tables and links to charts between the markers of
// performance.md in the folder docs, and the charts into its folder performance.
func writeReport(docs string, r *Results) error {
	file := filepath.Join(docs, "performance.md")
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(docs, "performance"), 0o755); err != nil {
		return err
	}
	text := string(content)
	parts := [][2]string{{"runs", runsOf(r)}, {"aims", aimsTable(r)}}
	for _, s := range scenarios() {
		part, err := scenarioPart(docs, s, r)
		if err != nil {
			return err
		}
		parts = append(parts, [2]string{s.name, part})
	}
	for _, part := range parts {
		if text, err = between(text, part[0], part[1]); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// scenarioPart writes a scenario's charts and returns its part of the page.
func scenarioPart(docs string, s scenario, r *Results) (string, error) {
	if len(r.of(s.name).Cells) == 0 {
		return "Not measured yet.\n", nil
	}
	var out strings.Builder
	if s.charts != nil {
		for i, c := range s.charts(r) {
			name := s.name + ".svg"
			if i > 0 {
				name = fmt.Sprintf("%s-%d.svg", s.name, i+1)
			}
			if err := os.WriteFile(filepath.Join(docs, "performance", name), []byte(c.svg()), 0o644); err != nil {
				return "", err
			}
			fmt.Fprintf(&out, "![%s](performance/%s)\n\n", c.title, name)
		}
	}
	out.WriteString(s.tables(r))
	return out.String(), nil
}

// between replaces what stands between two markers of a page.
func between(text, name, content string) (string, error) {
	begin := fmt.Sprintf("<!-- %s: written by scripts/bench report -->\n", name)
	end := fmt.Sprintf("<!-- end of %s -->\n", name)
	before, rest, found := strings.Cut(text, begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return "", fmt.Errorf("there are no lines %q and %q to write between", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return before + begin + "\n" + content + "\n" + end + after, nil
}

// runsOf tells of each run which scenarios it measured.
func runsOf(r *Results) string {
	var runs []Run
	by := map[Run][]string{}
	for _, s := range scenarios() {
		m := r.of(s.name)
		if len(m.Cells) == 0 {
			continue
		}
		if !slices.Contains(runs, m.Run) {
			runs = append(runs, m.Run)
		}
		by[m.Run] = append(by[m.Run], s.name)
	}
	var out strings.Builder
	for _, run := range runs {
		fmt.Fprintf(&out, "- %s: %v\n", strings.Join(by[run], ", "), run)
	}
	return out.String()
}

// summary is what a run shows at its end: the tables of what it measured, and
// which aims were met.
func summary(r *Results, chosen []scenario) string {
	var out strings.Builder
	for _, s := range chosen {
		if len(r.of(s.name).Cells) > 0 {
			fmt.Fprintf(&out, "%s\n\n%s\n", s.name, s.tables(r))
		}
	}
	out.WriteString(aimsTable(r))
	return out.String()
}
