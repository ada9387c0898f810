package vhdx

import (
	"context"
	"encoding/binary"
	"slices"
	"sort"
	"syscall"

	"platter/formats"
)

const (
	regionTableAt   = 192 << 10
	regionTableCopy = 256 << 10
	tableSize       = 64 << 10
	maxEntries      = 2047
)

// span is a part of the file, [start, end).
type span struct{ start, end uint64 }

// spans are the parts of the file that no block may overlap, in the order in which they were found.
type spans struct {
	all    []span
	sorted []span // by start; they do not overlap
}

// overlap finds the part, the last found first, that s overlaps.
func (l *spans) overlap(s span) (span, bool) {
	for _, r := range slices.Backward(l.all) {
		if s.start < r.end && s.end > r.start {
			return r, true
		}
	}
	return span{}, false
}

// free says that s overlaps nothing; it is quick and works after sort.
func (l *spans) free(s span) bool {
	i := sort.Search(len(l.sorted), func(i int) bool { return l.sorted[i].end > s.start })
	return i == len(l.sorted) || l.sorted[i].start >= s.end
}

func (l *spans) sort() {
	l.sorted = slices.Clone(l.all)
	slices.SortFunc(l.sorted, func(a, b span) int {
		if a.start < b.start {
			return -1
		}
		return 1
	})
}

// claim adds s; if it overlaps what is there already, that is reported and false is returned.
func (l *spans) claim(s span, env *formats.Env) bool {
	if r, found := l.overlap(s); found {
		reportOverlap(s, r, env)
		return false
	}
	l.all = append(l.all, s)
	return true
}

func reportOverlap(s, r span, env *formats.Env) {
	env.ReportError("VHDX region %d-%d overlaps with region %d-%d", s.start, s.end, r.start, r.end)
}

// regions are the known entries of the region table.
type regions struct {
	bat, meta       int64 // byte offsets
	batLen, metaLen int64
}

// loadRegions reads the region table (section 2.2.3). As in QEMU only the first copy counts.
func loadRegions(ctx context.Context, f formats.File, taken *spans, env *formats.Env) (regions, error) {
	var r regions
	raw := make([]byte, tableSize)
	if err := f.ReadAt(ctx, raw, regionTableAt); err != nil {
		return r, err
	}
	le := binary.LittleEndian
	count := int(le.Uint32(raw[8:]))
	if !sealed(raw) || string(raw[:4]) != "regi" || uint(count) > maxEntries {
		return r, syscall.EINVAL
	}
	var haveBAT, haveMeta bool
	for e := raw[16 : 16+count*32]; len(e) > 0; e = e[32:] {
		start, length := le.Uint64(e[16:]), uint64(le.Uint32(e[24:]))
		if start > 1<<62 {
			return r, syscall.EIO // no such place
		}
		if !taken.claim(span{start, start + length}, env) {
			return r, syscall.EINVAL
		}
		switch guid(e[:16]) {
		case guidBAT:
			if haveBAT {
				return r, syscall.EINVAL
			}
			haveBAT, r.bat, r.batLen = true, int64(start), int64(length)
		case guidMetadata:
			if haveMeta {
				return r, syscall.EINVAL
			}
			haveMeta, r.meta, r.metaLen = true, int64(start), int64(length)
		default:
			if le.Uint32(e[28:])&1 != 0 { // required, and not understood
				return r, syscall.ENOTSUP
			}
		}
	}
	if !haveBAT || !haveMeta {
		return r, syscall.EINVAL
	}
	taken.sort()
	return r, nil
}
