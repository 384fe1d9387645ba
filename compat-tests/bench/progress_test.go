package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestTimeLeft(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	p := newProgress(&out, func() time.Time { return now })
	p.plan([]time.Duration{100 * time.Second, 300 * time.Second})
	check := func(what string, share float64, left time.Duration) {
		t.Helper()
		gotShare, gotLeft := p.left()
		if gotShare != share || gotLeft != left {
			t.Errorf("%s: %v done, %v left; want %v, %v", what, gotShare, gotLeft, share, left)
		}
	}
	p.enter("first", true)
	check("at the beginning", 0, 400*time.Second)
	now = now.Add(100 * time.Second)
	p.at(1, 2, "second half")
	check("twice as slow as expected", 0.125, 700*time.Second)
	if got := out.String(); !strings.Contains(got, "12:01:40  12%, 12 min left · first 2/2 · second half\n") {
		t.Errorf("it said %q", got)
	}
	p.enter("second", false)
	check("after a faster half", 0.25, 300*time.Second)
	p.at(2, 3, "the last third")
	now = now.Add(200 * time.Second)
	check("as expected", 0.75, 100*time.Second)
}

func TestTerminalLine(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, time.Now)
	p.width = 30
	p.plan([]time.Duration{time.Second})
	p.enter("produce", true)
	p.say("something with a name that is too long for a line")
	if got := out.String(); got != "\r\x1b[K  0%, 1 s left · produce 1/1…" {
		t.Errorf("it wrote %q", got)
	}
	out.Reset()
	p.print("a line that stays")
	if got := out.String(); got != "\r\x1b[Ka line that stays\n" {
		t.Errorf("it wrote %q", got)
	}
}
