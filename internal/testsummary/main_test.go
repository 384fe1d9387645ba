package main

import (
	"reflect"
	"strings"
	"testing"
)

func TestSaidLast(t *testing.T) {
	for _, c := range []struct{ name, output, last string }{
		{"logs are between",
			"=== RUN   TestA\n    a_test.go:7: one: why\n        more of it\n    process.go:9: the log\n        ERROR 1\n--- FAIL: TestA (0.10s)\n",
			"        ERROR 1\n    The test said:\n    a_test.go:7: one: why\n--- FAIL: TestA (0.10s)\n"},
		{"nothing between", "=== RUN   TestA\n    a_test.go:7: one\n    a_test.go:8: two\n--- FAIL: TestA (0.10s)\n", "=== RUN   TestA\n    a_test.go:7: one\n    a_test.go:8: two\n--- FAIL: TestA (0.10s)\n"},
		{"in a subtest", "        a_test.go:7: one\n        process.go:9: the log\n    --- FAIL: TestA/b (0.10s)\n", "the log\n    The test said:\n        a_test.go:7: one\n    --- FAIL: TestA/b (0.10s)\n"},
		{"many lines", strings.Repeat("    a_test.go:7: one\n    other\n", 9) + "--- FAIL: TestA (0.10s)\n", "    other\n    The test said:\n" + strings.Repeat("    a_test.go:7: one\n", 5) + "--- FAIL: TestA (0.10s)\n"},
		{"it said nothing", "=== RUN   TestA\n    other\n--- FAIL: TestA (0.10s)\n", "=== RUN   TestA\n    other\n--- FAIL: TestA (0.10s)\n"},
		{"it did not end", "    a_test.go:7: one\npanic: boom\n", "panic: boom\n    The test said:\n    a_test.go:7: one\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := saidLast(c.output); !strings.HasSuffix(got, c.last) || len(got) < len(c.output) || strings.Count(got, "--- FAIL") > 1 {
				t.Errorf("says %q", got)
			}
		})
	}
}

func TestSummary(t *testing.T) {
	for _, c := range []struct {
		name, in                string
		passed, failed, skipped int
		deferred                []string
		says                    string
	}{
		{"passes", `{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Elapsed":1.5}`, 1, 0, 0, nil, "ok   p (1.5s)\n"},
		{"shows the output of what fails only", `{"Action":"output","Package":"p","Test":"TestA","Output":"quiet\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"why\n"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"fail","Package":"p"}`, 1, 1, 0, nil, "why\nFAIL p (0.0s)\n"},
		{"a crash outside tests", `{"Action":"output","Package":"p","Output":"panic\n"}
{"Action":"fail","Package":"p"}`, 0, 1, 0, nil, "panic\nFAIL p (0.0s)\n"},
		{"what does not build", `{"Action":"build-output","ImportPath":"p","Output":"syntax error\n"}
{"Action":"build-fail","ImportPath":"p"}
{"Action":"fail","Package":"p"}`, 0, 1, 0, nil, "syntax error\nFAIL p (0.0s)\n"},
		{"skips", `{"Action":"output","Package":"p","Test":"TestA/b","Output":"for want of Java\n"}
{"Action":"skip","Package":"p","Test":"TestA/b"}
{"Action":"pass","Package":"p","Test":"TestA"}`, 1, 0, 1, []string{"p TestA\n"}, "skipped: p TestA/b\nfor want of Java\n"},
		{"other lines", "no json", 0, 0, 0, nil, "no json\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := summary{output: map[string]*strings.Builder{}}
			var out strings.Builder
			s.read(strings.NewReader(c.in), &out)
			if s.passed != c.passed || s.failed != c.failed || s.skipped != c.skipped || !reflect.DeepEqual(s.deferred, c.deferred) || out.String() != c.says {
				t.Errorf("%d passed, %d failed, %d skipped, %v, says %q", s.passed, s.failed, s.skipped, s.deferred, out.String())
			}
		})
	}
}
