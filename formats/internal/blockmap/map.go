package blockmap

import (
	"context"
	"encoding/binary"

	"platter/formats"
)

// pageBlocks is the number of entries that are read and written together.
const pageBlocks = 16 << 10

// maxClean bounds the pages that are kept although they need not be written: 64 MiB.
const maxClean = 1024

// page is a part of the table in memory.
type page struct {
	entries []uint32
	dirty   bool
}

// Map is the table with its pages loaded as they are needed. Its owner serialises all calls.
type Map struct {
	file    formats.File
	off     int64  // of the table in the file
	entries uint32 // number of entries
	order   binary.ByteOrder
	pages   map[uint32]*page
	dirty   int
}

// New makes a map over the table at off in file, which holds that many entries in that byte order. What lies past the
// end of the file is zero.
func New(file formats.File, off int64, entries uint32, order binary.ByteOrder) *Map {
	return &Map{file: file, off: off, entries: entries, order: order, pages: map[uint32]*page{}}
}

// Dirty reports whether entries were changed and not written.
func (m *Map) Dirty() bool { return m.dirty > 0 }

// page gives the page that holds block b.
func (m *Map) page(ctx context.Context, b uint32) (*page, error) {
	k := b / pageBlocks
	if p := m.pages[k]; p != nil {
		return p, nil
	}
	m.evict()
	n := min(m.entries-k*pageBlocks, pageBlocks)
	raw := make([]byte, n*4)
	if err := m.file.ReadAt(ctx, raw, m.off+int64(k)*pageBlocks*4); err != nil {
		return nil, err
	}
	p := &page{entries: make([]uint32, n)}
	for i := range p.entries {
		p.entries[i] = m.order.Uint32(raw[i*4:])
	}
	m.pages[k] = p
	return p, nil
}

// evict makes room where many pages are loaded; those that must be written stay.
func (m *Map) evict() {
	if len(m.pages)-m.dirty < maxClean {
		return
	}
	for k, p := range m.pages {
		if !p.dirty {
			delete(m.pages, k)
		}
	}
}

// Get reads entry b.
func (m *Map) Get(ctx context.Context, b uint32) (uint32, error) {
	p, err := m.page(ctx, b)
	if err != nil {
		return 0, err
	}
	return p.entries[b%pageBlocks], nil
}

// Set changes entry b in memory.
func (m *Map) Set(ctx context.Context, b, entry uint32) error {
	p, err := m.page(ctx, b)
	if err != nil {
		return err
	}
	p.entries[b%pageBlocks] = entry
	if !p.dirty {
		p.dirty = true
		m.dirty++
	}
	return nil
}

// Write puts the changed pages into the file. It does not flush.
func (m *Map) Write(ctx context.Context) error {
	for k, p := range m.pages {
		if !p.dirty {
			continue
		}
		raw := make([]byte, len(p.entries)*4)
		for i, e := range p.entries {
			m.order.PutUint32(raw[i*4:], e)
		}
		if err := m.file.WriteAt(ctx, raw, m.off+int64(k)*pageBlocks*4, 0); err != nil {
			return err
		}
		p.dirty = false
		m.dirty--
	}
	return nil
}

// Each calls f for every entry, reading the map in order without keeping what was not there before.
func (m *Map) Each(ctx context.Context, f func(b, entry uint32)) error {
	return m.each(ctx, m.entries, f)
}

// EachHeld is Each for the entries that are in the file, whole pages of them, and says how many there are. Those behind
// are zero; a damaged image may have very many.
func (m *Map) EachHeld(ctx context.Context, f func(b, entry uint32)) (uint32, error) {
	pages := (max(m.file.Size()-m.off, 0)/4 + pageBlocks - 1) / pageBlocks
	held := uint32(min(pages*pageBlocks, int64(m.entries)))
	return held, m.each(ctx, held, f)
}

func (m *Map) each(ctx context.Context, entries uint32, f func(b, entry uint32)) error {
	for b := uint32(0); b < entries; b += pageBlocks {
		p, err := m.page(ctx, b)
		if err != nil {
			return err
		}
		for i, e := range p.entries {
			f(b+uint32(i), e)
		}
	}
	return nil
}

// Hole gives how many entries from b on lie past the end of the file, so that they are zero, and are not in memory: 0 if
// b does not, else at most up to the end of its page. A header can ask for a table of 2 GiB in a file of one sector.
func (m *Map) Hole(b uint32) uint32 {
	k := b / pageBlocks
	if m.pages[k] != nil || m.off+int64(k)*pageBlocks*4 < m.file.Size() {
		return 0
	}
	return min(m.entries, (k+1)*pageBlocks) - b
}
