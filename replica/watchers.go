package replica

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Watcher is told that something in a partition has moved. token is what the watcher
// gave with Watch, by which it knows the partition. Moved says nothing about what has
// moved but whether it is what the watcher waits for, may come without need, and must
// not block: a fetch session sets a bit. If somebody has waited for it, goOn is not nil:
// it goes on with what has waited, and is called once, without locks.
type Watcher interface {
	Moved(token uint32, awaited bool) (goOn func())
}

// Woken is what goes on now that something has moved; nil is nobody.
type Woken []func()

// Leave has all go on in goroutines of their own. Nobody is left then.
func (w *Woken) Leave() {
	if w == nil {
		return
	}
	for _, goOn := range *w {
		go goOn()
	}
	*w = nil
}

// GoOn goes on with all: with the first one in this goroutine, for which nobody has to be
// woken, and with others in goroutines of their own, that no one waits for all.
func (w *Woken) GoOn() {
	if w == nil || len(*w) == 0 {
		return
	}
	first := (*w)[0]
	*w = (*w)[1:]
	w.Leave()
	first()
}

// Moves are kinds of what moves in a partition. For what is none of these, a role or the
// start of a log, all watchers wait.
type Moves uint8

const (
	Appends Moves = 1 << iota // the end offset: for those who read what is not committed
	Commits                   // the high watermark and the last stable offset

	allMoves = Appends | Commits
)

// watchers are those who watch one partition. There are a few as a rule, and can be
// thousands, who come and go: neither costs more for the others who are there.
type watchers struct {
	some atomic.Bool // the list is not empty

	mu   sync.Mutex
	list []watch
}

type watch struct {
	watcher Watcher
	token   uint32
	awaited Moves
}

// Watch has w told about every move from now on, but of appends only if it waits for
// them. If the partition is deleted or its directory fails, w is told, at once if that
// has happened already, and never again by this Partition.
func (p *Partition) Watch(w Watcher, token uint32, awaited Moves) {
	p.watchers.add(watch{w, token, awaited})
	if p.role.Load().gone != nil {
		if goOn := w.Moved(token, true); goOn != nil {
			go goOn()
		}
	}
}

// Unwatch ends it. A call that is under way may still come.
func (p *Partition) Unwatch(w Watcher, token uint32) { p.watchers.remove(w, token) }

func (ws *watchers) add(w watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.list = append(ws.list, w)
	ws.some.Store(true)
}

func (ws *watchers) remove(w Watcher, token uint32) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	i := slices.IndexFunc(ws.list, func(l watch) bool { return l.watcher == w && l.token == token })
	if i < 0 {
		return
	}
	last := len(ws.list) - 1
	ws.list[i], ws.list[last] = ws.list[last], watch{}
	switch ws.list = ws.list[:last]; {
	case last == 0:
		ws.list = nil // of thousands of partitions most are watched for a moment
		ws.some.Store(false)
	case last < cap(ws.list)/4:
		ws.list = slices.Clip(slices.Clone(ws.list))
	}
}

// moved tells the watchers. Appends mean nothing to those who do not wait for them. What
// goes on is added to woken or, if that is nil, does so in goroutines of its own.
func (ws *watchers) moved(what Moves, woken *Woken) {
	if !ws.some.Load() {
		return
	}
	var few [8]watch
	ws.mu.Lock()
	list := append(few[:0], ws.list...) // who is told may come or go meanwhile
	ws.mu.Unlock()
	for _, w := range list {
		awaited := w.awaited&what != 0 || what == allMoves
		if !awaited && what == Appends {
			continue
		}
		switch goOn := w.watcher.Moved(w.token, awaited); {
		case goOn == nil:
		case woken == nil:
			go goOn()
		default:
			*woken = append(*woken, goOn)
		}
	}
}
