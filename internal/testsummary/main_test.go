package main

import (
	"reflect"
	"strings"
	"testing"
)

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
