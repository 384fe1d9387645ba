package broker

import (
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"sync"

	"github.com/gracchus-mq/gracchus/storage/vfs"
)

// failpoint strikes a cluster between two durable steps: before the disk of a broker
// that is alive takes the nth write to a log of the partitions that it watches or, if
// they are what makes steps durable, the nth sync of one. It does nothing before it is
// armed, and nothing after it has struck.
type failpoint struct {
	mu      sync.Mutex
	watched map[string]bool // directories of partitions
	syncs   bool            // what is counted
	strike  func()
	left    int
	armed   bool
	steps   []string      // that were let through
	struck  chan struct{} // closed when it has struck
}

// arm has it strike after so many steps.
func (f *failpoint) arm(s *simulation, steps int, syncs bool, strike func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watched = map[string]bool{}
	for _, p := range s.replicated {
		f.watched[p.String()] = true
	}
	f.left, f.syncs, f.strike, f.steps, f.struck, f.armed = steps, syncs, strike, nil, make(chan struct{}), true
}

// step is called before a step. strike is called with mu held, so that nobody else makes
// anything durable until it has struck.
func (f *failpoint) step(l *life, name string, sync bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	partition := path.Base(path.Dir(name))
	if !f.armed || sync != f.syncs || path.Ext(name) != ".log" || !f.watched[partition] || l.process.Dead() {
		return
	}
	if f.left > 0 {
		f.left--
		f.steps = append(f.steps, fmt.Sprintf("%s at broker %d", partition, l.id))
		return
	}
	f.strikeLocked()
}

// strikeNow strikes unless it has: there were fewer steps. It returns how many there were.
func (f *failpoint) strikeNow() (steps int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.armed {
		f.strikeLocked()
	}
	return len(f.steps)
}

func (f *failpoint) strikeLocked() {
	// Whoever does not wait for this step has time to go on. No clock may be waited
	// for: others may wait for locks that the caller holds.
	for range 5_000 {
		runtime.Gosched()
	}
	f.armed = false
	f.strike()
	close(f.struck)
}

// last is the step after which it has struck.
func (f *failpoint) last() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.steps) == 0 {
		return "nothing"
	}
	return f.steps[len(f.steps)-1]
}

// failpointDisk is a broker's disk, which the failpoint watches.
type failpointDisk struct {
	vfs.FS
	life *life
}

func (d failpointDisk) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	if err != nil || path.Ext(name) != ".log" {
		return f, err
	}
	return failpointFile{f, d.life}, nil
}

type failpointFile struct {
	vfs.File
	life *life
}

func (f failpointFile) WriteAt(b []byte, at int64) (int, error) {
	f.life.s.failpoint.step(f.life, f.Name(), false)
	return f.File.WriteAt(b, at)
}

func (f failpointFile) Sync() error {
	f.life.s.failpoint.step(f.life, f.Name(), true)
	return f.File.Sync()
}
