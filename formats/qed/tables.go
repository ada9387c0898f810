package qed

import (
	"context"
	"encoding/binary"

	"platter/formats"
)

const (
	pageSize  = minCluster // tables are aligned to it
	keptPages = 4096       // pages kept in memory, 16 MiB, unless more of them are dirty
)

// page is a piece of a table, as in the file.
type page struct {
	raw   [pageSize]byte
	dirty bool
	busy  bool // taken: the file does not hold it yet
	l1    bool // part of the L1 table
}

// tables caches pages of the L1 and L2 tables by their offset in the file. The caller locks.
type tables struct {
	file  formats.File
	event formats.Events
	pages map[int64]*page
	dirty int
}

func newTables(f formats.File) *tables {
	return &tables{file: f, event: formats.EventsOf(f), pages: map[int64]*page{}}
}

func (t *tables) page(ctx context.Context, at int64) (*page, error) {
	if p := t.pages[at]; p != nil {
		return p, nil
	}
	p := new(page)
	t.event.Raise(formats.EventL2Load)
	if err := t.file.ReadAt(ctx, p.raw[:], at); err != nil {
		return nil, err
	}
	if len(t.pages) >= keptPages {
		t.evict()
	}
	t.pages[at] = p
	return p, nil
}

// evict drops some clean pages; which ones is left to the map's order.
func (t *tables) evict() {
	n := keptPages / 8
	for at, p := range t.pages {
		if n == 0 {
			return
		}
		if !p.dirty && !p.busy {
			delete(t.pages, at)
			n--
		}
	}
}

// get reads the entry at an offset in the file.
func (t *tables) get(ctx context.Context, at int64) (uint64, error) {
	p, err := t.page(ctx, at&^(pageSize-1))
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(p.raw[at&(pageSize-1):]), nil
}

// set changes the entry at an offset in the file, in memory.
func (t *tables) set(ctx context.Context, at int64, v uint64, l1 bool) error {
	p, err := t.page(ctx, at&^(pageSize-1))
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint64(p.raw[at&(pageSize-1):], v)
	if !p.dirty {
		p.dirty = true
		t.dirty++
	}
	p.l1 = l1
	return nil
}

// taken is the copy of a dirty page.
type taken struct {
	at  int64
	raw []byte
	l1  bool
}

// take copies the dirty pages and calls them clean. They stay in memory until written or putBack.
func (t *tables) take() []taken {
	var out []taken
	for at, p := range t.pages {
		if p.dirty {
			out = append(out, taken{at, append([]byte(nil), p.raw[:]...), p.l1})
			p.dirty, p.busy = false, true
		}
	}
	t.dirty = 0
	return out
}

// written says that taken pages are in the file.
func (t *tables) written(pages []taken) {
	for _, c := range pages {
		t.pages[c.at].busy = false
	}
}

// putBack makes pages dirty again that could not be written.
func (t *tables) putBack(pages []taken) {
	for _, c := range pages {
		p := t.pages[c.at]
		p.busy = false
		if !p.dirty {
			p.dirty = true
			t.dirty++
		}
	}
}

// drop forgets all pages, which are clean and not taken.
func (t *tables) drop() { t.pages, t.dirty = map[int64]*page{}, 0 }
