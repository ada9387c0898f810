package fusefs

import (
	"sync"
	"syscall"
)

// table gives nodes the numbers by which the kernel knows them. A node has one number as long as it is in the table;
// it leaves when the kernel has forgotten it and its directory no longer has it (drop).
type table struct {
	mu    sync.RWMutex
	seats map[uint64]*seat
	ids   map[node]uint64
	last  uint64
}

type seat struct {
	node    node
	lookups uint64
	gone    bool
}

func newTable(root node) *table {
	t := &table{seats: map[uint64]*seat{1: {node: root, lookups: 1}}, ids: map[node]uint64{root: 1}, last: 1}
	return t
}

// get finds the node of a number; ESTALE if there is none, which the kernel does not ask for unless it is confused.
func (t *table) get(id uint64) (node, error) {
	t.mu.RLock()
	s := t.seats[id]
	t.mu.RUnlock()
	if s == nil {
		return nil, syscall.ESTALE
	}
	return s.node, nil
}

func (t *table) number(n node) uint64 {
	if id, ok := t.ids[n]; ok {
		return id
	}
	t.last++
	t.seats[t.last] = &seat{node: n}
	t.ids[n] = t.last
	return t.last
}

// known gives the number of n if the kernel has seen it.
func (t *table) known(n node) (uint64, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	id, ok := t.ids[n]
	if !ok || t.seats[id].lookups == 0 {
		return 0, false
	}
	return id, true
}

// look counts a lookup and gives the number.
func (t *table) look(n node) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := t.number(n)
	t.seats[id].lookups++
	return id
}

// forget takes back lookups.
func (t *table) forget(id, n uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.seats[id]
	if s == nil || id == 1 {
		return
	}
	s.lookups -= min(n, s.lookups)
	t.sweep(id, s)
}

// drop says that the node is no longer part of the tree.
func (t *table) drop(n node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, ok := t.ids[n]; ok {
		t.seats[id].gone = true
		t.sweep(id, t.seats[id])
	}
}

// files lists the data files of an image that the kernel has.
func (t *table) files(img *image) []*dataFile {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var list []*dataFile
	for _, s := range t.seats {
		if f, ok := s.node.(*dataFile); ok && f.img == img && s.lookups > 0 {
			list = append(list, f)
		}
	}
	return list
}

// purge takes out all that the kernel does not have, which will get new numbers should it come back.
func (t *table) purge() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, s := range t.seats {
		if s.lookups == 0 && id != 1 {
			delete(t.seats, id)
			delete(t.ids, s.node)
		}
	}
}

func (t *table) sweep(id uint64, s *seat) {
	if s.gone && s.lookups == 0 {
		delete(t.seats, id)
		delete(t.ids, s.node)
	}
}

// handles numbers open files. Numbers are used again, so that a read finds its handle by an index.
type handles struct {
	mu   sync.RWMutex
	open []handle
	free []uint64
}

func (h *handles) add(x handle) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.free); n > 0 {
		fh := h.free[n-1]
		h.free = h.free[:n-1]
		h.open[fh] = x
		return fh
	}
	h.open = append(h.open, x)
	return uint64(len(h.open) - 1)
}

func (h *handles) get(fh uint64) handle {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if fh >= uint64(len(h.open)) {
		return nil
	}
	return h.open[fh]
}

func (h *handles) remove(fh uint64) handle {
	h.mu.Lock()
	defer h.mu.Unlock()
	if fh >= uint64(len(h.open)) || h.open[fh] == nil {
		return nil
	}
	x := h.open[fh]
	h.open[fh] = nil
	h.free = append(h.free, fh)
	return x
}
