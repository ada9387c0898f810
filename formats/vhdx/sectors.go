package vhdx

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"

	"platter/formats"
)

// maxSectors bounds the sectors that are kept although they need not be written: 16 MiB.
const maxSectors = 4096

// sector is a part of the BAT or of a sector bitmap, in memory.
type sector struct {
	data  [logSector]byte
	dirty bool
	busy  bool // being written
}

// part is a changed sector on its way into the file.
type part struct {
	off  int64
	data [logSector]byte
}

// sectors caches metadata by its place in the file.
type sectors struct {
	file    formats.File
	all     map[int64]*sector
	changed int
}

// at gives the sector that holds the byte at off.
func (m *sectors) at(ctx context.Context, off int64) (*sector, error) {
	off &^= logSector - 1
	if s := m.all[off]; s != nil {
		return s, nil
	}
	if len(m.all) >= maxSectors {
		for k, s := range m.all {
			if !s.dirty && !s.busy {
				delete(m.all, k)
			}
		}
	}
	s := &sector{}
	if err := m.file.ReadAt(ctx, s.data[:], off); err != nil {
		return nil, err
	}
	m.all[off] = s
	return s, nil
}

// hold takes space in the file for a sector that is about to change. One of zeroes may be a hole there, and a full disk is
// to fail the request that needs the sector, not the flush, by which time data that only it leads to was acknowledged.
func (m *sectors) hold(ctx context.Context, off int64, s *sector) error {
	if s.dirty || s.busy || s.data != [logSector]byte{} {
		return nil
	}
	return m.file.WriteZeroes(ctx, off&^(logSector-1), logSector, 0)
}

func (m *sectors) touch(s *sector) {
	if !s.dirty {
		s.dirty = true
		m.changed++
	}
}

// word reads the entry at off. The BAT begins at a multiple of 1 MiB; one that does not works in QEMU and here, and its
// entries may lie in two sectors.
func (m *sectors) word(ctx context.Context, off int64) (uint64, error) {
	var raw [8]byte
	for done := 0; done < len(raw); {
		s, err := m.at(ctx, off+int64(done))
		if err != nil {
			return 0, err
		}
		done += copy(raw[done:], s.data[(off+int64(done))%logSector:])
	}
	return binary.LittleEndian.Uint64(raw[:]), nil
}

func (m *sectors) setWord(ctx context.Context, off int64, v uint64) error {
	raw := binary.LittleEndian.AppendUint64(nil, v)
	for len(raw) > 0 {
		s, err := m.at(ctx, off)
		if err == nil {
			err = m.hold(ctx, off, s)
		}
		if err != nil {
			return err
		}
		n := copy(s.data[off%logSector:], raw)
		m.touch(s)
		raw, off = raw[n:], off+int64(n)
	}
	return nil
}

// bits gives the run of equal bits at bit first of the bitmap at off, at most n.
func (m *sectors) bits(ctx context.Context, off, first, n int64) (set bool, run int64, err error) {
	for run < n {
		bit := first + run
		s, err := m.at(ctx, off+bit/8)
		if err != nil {
			return false, 0, err
		}
		b := s.data[(off+bit/8)%logSector]
		on := b>>(bit%8)&1 == 1
		if run == 0 {
			set = on
		}
		if on != set {
			break
		}
		if bit%8 == 0 && n-run >= 8 && (b == 0 || b == 0xff) {
			run += 8
			continue
		}
		run++
	}
	return set, run, nil
}

// setBits changes n bits from bit first of the bitmap at off.
func (m *sectors) setBits(ctx context.Context, off, first, n int64, on bool) error {
	for bit := first; bit < first+n; {
		s, err := m.at(ctx, off+bit/8)
		if err != nil {
			return err
		}
		b := &s.data[(off+bit/8)%logSector]
		mask, step := byte(1)<<(bit%8), int64(1)
		if bit%8 == 0 && first+n-bit >= 8 {
			mask, step = 0xff, 8
		}
		now := *b | mask
		if !on {
			now &^= mask
		}
		if now != *b {
			if err := m.hold(ctx, off+bit/8, s); err != nil {
				return err
			}
			*b = now
			m.touch(s)
		}
		bit += step
	}
	return nil
}

// take gives the changed sectors, highest places first: bitmaps, which lie behind the BAT, before the entries that name
// them, if they do not all fit in one log entry.
func (m *sectors) take() []part {
	if m.changed == 0 {
		return nil
	}
	parts := make([]part, 0, m.changed)
	for off, s := range m.all {
		if s.dirty {
			parts = append(parts, part{off, s.data})
			s.dirty, s.busy = false, true
		}
	}
	m.changed = 0
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(b.off, a.off) })
	return parts
}

func (m *sectors) written(parts []part) {
	for _, p := range parts {
		m.all[p.off].busy = false
	}
}

// putBack marks parts that did not reach the file as changed again.
func (m *sectors) putBack(parts []part) {
	for _, p := range parts {
		s := m.all[p.off]
		s.busy = false
		m.touch(s)
	}
}
