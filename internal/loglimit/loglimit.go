// Package loglimit keeps floods out of the log: what strangers can cause as often
// as they like is said for each of the first, and then counted.
package loglimit

import (
	"sync"
	"time"
)

const (
	// Lines are said one by one in each Window; what is beyond is counted.
	Lines  = 50
	Window = 10 * time.Second
)

// Limit decides which lines of one kind are said. The zero value is ready. Safe for
// concurrent use.
type Limit struct {
	mu     sync.Mutex
	begin  time.Time // of the window
	lines  int       // in the window
	unsaid int       // since the last Unsaid
}

// Say reports whether a line is to be said; if not it is counted.
func (l *Limit) Say() bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.begin) >= Window {
		l.begin, l.lines = now, 0
	}
	if l.lines >= Lines {
		l.unsaid++
		return false
	}
	l.lines++
	return true
}

// Unsaid returns how many lines have not been said since it was last called. Who
// uses a Limit asks from time to time and says the number.
func (l *Limit) Unsaid() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.unsaid
	l.unsaid = 0
	return n
}
