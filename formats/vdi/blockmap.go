package vdi

import (
	"context"
	"encoding/binary"

	"platter/formats"
)

// pageBlocks is the number of map entries that are read and written together.
const pageBlocks = 16 << 10

// maxClean bounds the pages that are kept although they need not be written: 64 MiB of map stand for 16 TiB of disk.
const maxClean = 1024

// page is a part of the map in memory.
type page struct {
	entries []uint32
	dirty   bool
}

// blockMap is the map with its pages loaded as they are needed.
type blockMap struct {
	file   formats.File
	off    int64  // of the map in the file
	blocks uint32 // number of entries
	pages  map[uint32]*page
	dirty  int
}

// page gives the page that holds block b.
func (m *blockMap) page(ctx context.Context, b uint32) (*page, error) {
	k := b / pageBlocks
	if p := m.pages[k]; p != nil {
		return p, nil
	}
	m.evict()
	n := min(m.blocks-k*pageBlocks, pageBlocks)
	raw := make([]byte, n*4)
	if err := m.file.ReadAt(ctx, raw, m.off+int64(k)*pageBlocks*4); err != nil {
		return nil, err
	}
	p := &page{entries: make([]uint32, n)}
	for i := range p.entries {
		p.entries[i] = binary.LittleEndian.Uint32(raw[i*4:])
	}
	m.pages[k] = p
	return p, nil
}

// evict makes room where many pages are loaded; those that must be written stay.
func (m *blockMap) evict() {
	if len(m.pages)-m.dirty < maxClean {
		return
	}
	for k, p := range m.pages {
		if !p.dirty {
			delete(m.pages, k)
		}
	}
}

func (m *blockMap) get(ctx context.Context, b uint32) (uint32, error) {
	p, err := m.page(ctx, b)
	if err != nil {
		return 0, err
	}
	return p.entries[b%pageBlocks], nil
}

func (m *blockMap) set(ctx context.Context, b, entry uint32) error {
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

// write puts the changed pages into the file, whole sectors at a time as QEMU does.
func (m *blockMap) write(ctx context.Context) error {
	for k, p := range m.pages {
		if !p.dirty {
			continue
		}
		raw := make([]byte, len(p.entries)*4)
		for i, e := range p.entries {
			binary.LittleEndian.PutUint32(raw[i*4:], e)
		}
		if err := m.file.WriteAt(ctx, raw, m.off+int64(k)*pageBlocks*4, 0); err != nil {
			return err
		}
		p.dirty = false
		m.dirty--
	}
	return nil
}

// each calls f for every entry, reading the map in order without keeping what was not there before.
func (m *blockMap) each(ctx context.Context, f func(b, entry uint32)) error {
	for b := uint32(0); b < m.blocks; b += pageBlocks {
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
