// Command testsummary reads the output of `go test -json` and prints what a
// person wants to see of it: each package's outcome, the whole output of tests
// that failed, with what the test itself said once more at its end, and tests
// that were skipped. It appends "passed failed skipped"
// to the file given as its argument, and fails if a test failed, if the output
// tells of none, or, with CI=true, if one was skipped.
//
// With a second argument skipped tests do not count: "package test" is appended
// to that file for each, for whoever runs them in another way.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

type summary struct {
	passed, failed, skipped int
	deferred                []string                    // "package test" of skipped tests
	output                  map[string]*strings.Builder // of each package and test that has not ended
}

func main() {
	s := summary{output: map[string]*strings.Builder{}}
	s.read(os.Stdin, os.Stdout)
	if len(os.Args) > 2 {
		appendTo(os.Args[2], strings.Join(s.deferred, ""))
		s.skipped = 0
	}
	if len(os.Args) > 1 {
		appendTo(os.Args[1], fmt.Sprintln(s.passed, s.failed, s.skipped))
	}
	if s.failed > 0 || s.passed == 0 || s.skipped > 0 && os.Getenv("CI") == "true" {
		os.Exit(1)
	}
}

func (s *summary) read(in io.Reader, out io.Writer) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil { // not from go test: show it
			fmt.Fprintln(out, lines.Text())
			continue
		}
		s.take(e, out)
	}
}

func (s *summary) take(e event, out io.Writer) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		if s.output[key] == nil {
			s.output[key] = &strings.Builder{}
		}
		s.output[key].WriteString(e.Output)
		return
	case "build-output":
		fmt.Fprint(out, e.Output)
		return
	case "build-fail":
		s.failed++
		return
	case "pass", "fail", "skip":
	default:
		return
	}
	text := ""
	if b := s.output[key]; b != nil {
		text = b.String()
		delete(s.output, key)
	}
	switch {
	case e.Test == "" && e.Action == "fail":
		// A crash or a race outside any test shows in the package's own output.
		fmt.Fprintf(out, "%sFAIL %s (%.1fs)\n", text, e.Package, e.Elapsed)
		if s.failed == 0 {
			s.failed++
		}
	case e.Test == "" && e.Action == "pass":
		fmt.Fprintf(out, "ok   %s (%.1fs)\n", e.Package, e.Elapsed)
	case e.Test == "":
	case e.Action == "pass":
		s.passed++
	case e.Action == "fail":
		s.failed++
		fmt.Fprint(out, saidLast(text))
	case e.Action == "skip":
		s.skipped++
		s.deferred = append(s.deferred, e.Package+" "+strings.Split(e.Test, "/")[0]+"\n")
		fmt.Fprintf(out, "skipped: %s %s\n%s", e.Package, e.Test, text)
	}
}

// said is how a line begins that a test has said itself, by t.Error or t.Log.
var said = regexp.MustCompile(`^\s*\w+_test\.go:\d+: `)

// saidLast repeats the last lines that a failed test has said itself right before
// its "--- FAIL", if the logs of brokers, say, are between: of a long output often
// only the end is read.
func saidLast(output string) string {
	const most = 5
	lines := strings.SplitAfter(output, "\n")
	end := len(lines)
	for i, line := range lines {
		if strings.HasPrefix(strings.TrimSpace(line), "--- FAIL: ") {
			end = i
		}
	}
	var again []string
	for _, line := range lines[:end] {
		if said.MatchString(line) {
			again = append(again, line)
		}
	}
	again = again[max(0, len(again)-most):]
	if slices.Equal(again, lines[end-len(again):end]) {
		return output
	}
	return strings.Join(slices.Concat(lines[:end], []string{"    The test said:\n"}, again, lines[end:]), "")
}

func appendTo(file, text string) {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsummary:", err)
		os.Exit(1)
	}
}
