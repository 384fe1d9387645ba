package replica

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Watcher is told that something in a partition has moved: its end offset, high
// watermark, last stable offset or start offset, or its role. token is what the
// watcher gave with Watch, by which it knows the partition. Moved says nothing
// about what has moved, may come without need, and must not block: a fetch
// session sets a bit and wakes its fetch if there is one.
type Watcher interface{ Moved(token uint32) }

// watchers are those who watch one partition. Moving is frequent and watching is
// not: the list is replaced whenever it changes, and read without a lock.
type watchers struct {
	mu   sync.Mutex
	list atomic.Pointer[[]watch]
}

type watch struct {
	watcher Watcher
	token   uint32
}

// Watch has w told about every move from now on. If the partition is deleted or
// its directory fails, w is told, at once if that has happened already, and never
// again by this Partition.
func (p *Partition) Watch(w Watcher, token uint32) {
	p.watchers.update(func(list []watch) []watch { return append(list, watch{w, token}) })
	if p.role.Load().gone != nil {
		w.Moved(token)
	}
}

// Unwatch ends it. A call that is under way may still come.
func (p *Partition) Unwatch(w Watcher, token uint32) {
	p.watchers.update(func(list []watch) []watch {
		if i := slices.Index(list, watch{w, token}); i >= 0 {
			list[i] = list[len(list)-1]
			list[len(list)-1] = watch{}
			list = list[:len(list)-1]
		}
		return list
	})
}

func (ws *watchers) update(change func([]watch) []watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	var list []watch
	if old := ws.list.Load(); old != nil {
		list = slices.Clone(*old)
	}
	list = change(list)
	ws.list.Store(&list)
}

func (ws *watchers) moved() {
	if list := ws.list.Load(); list != nil {
		for _, w := range *list {
			w.watcher.Moved(w.token)
		}
	}
}
