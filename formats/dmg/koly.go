package dmg

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

const (
	sectorSize = 512
	kolySize   = 512
	kolyMagic  = "koly"
	maxSectors = math.MaxInt64 / sectorSize
	// maxSegments is far above what fits on the media that segmented images were made for.
	maxSegments = 256
)

// koly is the trailer. Offsets and lengths are bytes of the file that holds it.
type koly struct {
	at                     uint64 // of the trailer itself
	running                uint64 // how much of the data fork lies in the segments before this one
	dataOffset, dataLen    uint64
	forkOffset, forkLen    uint64
	segment, segments      uint32
	plistOffset, plistSize uint64
	sectors                uint64
}

// findKoly reads the trailer. A file's length is known in whole sectors only, so that the trailer of one of odd length
// begins up to a sector earlier.
func findKoly(ctx context.Context, f formats.File) (koly, error) {
	length := f.Size()
	if length < kolySize {
		return koly{}, qerr.New(syscall.EINVAL, "dmg file must be at least 512 bytes long")
	}
	from := max(length-2*sectorSize+1, 0)
	tail := make([]byte, 2*sectorSize+kolySize)
	if err := f.ReadAt(ctx, tail, from); err != nil {
		return koly{}, qerr.Errno(qerr.Of(err), "Failed while reading UDIF trailer")
	}
	i := bytes.Index(tail[:min(length, sectorSize-1+int64(len(kolyMagic)))], []byte(kolyMagic))
	if i < 0 {
		return koly{}, qerr.New(syscall.EINVAL, "Could not locate UDIF trailer in dmg file")
	}
	p, be := tail[i:], binary.BigEndian
	return koly{
		at: uint64(from) + uint64(i), running: be.Uint64(p[0x10:]),
		dataOffset: be.Uint64(p[0x18:]), dataLen: be.Uint64(p[0x20:]),
		forkOffset: be.Uint64(p[0x28:]), forkLen: be.Uint64(p[0x30:]),
		segment: be.Uint32(p[0x38:]), segments: be.Uint32(p[0x3c:]),
		plistOffset: be.Uint64(p[0xd8:]), plistSize: be.Uint64(p[0xe0:]),
		sectors: be.Uint64(p[0x1ec:]),
	}, nil
}

// place is where the data fork of a file lies. A single file's reaches to the trailer, whatever its length says.
func (k *koly) place(f formats.File) segment {
	s := segment{file: f, base: int64(k.dataOffset), from: k.running, end: math.MaxUint64}
	if k.segments > 1 {
		s.end = k.running + min(k.dataLen, k.at)
	} else {
		s.from = 0
	}
	return s
}

// check holds the trailer's fields against the file.
func (l *loader) check(k koly) error {
	switch {
	case k.dataOffset > k.at:
		return l.invalid("the data fork begins at %d, behind the trailer at %d", k.dataOffset, k.at)
	case k.forkOffset >= k.at || k.forkLen > k.at-k.forkOffset:
		return l.invalid("the resource fork at %d+%d is not before the trailer at %d", k.forkOffset, k.forkLen, k.at)
	case k.plistOffset >= k.at || k.plistSize > k.at-k.plistOffset:
		return l.invalid("the property list at %d+%d is not before the trailer at %d", k.plistOffset, k.plistSize, k.at)
	case k.sectors > math.MaxInt64:
		return l.invalid("the trailer counts %d sectors", k.sectors)
	case k.segments > 1 && k.segment > 1:
		return qerr.New(syscall.EINVAL, "'%s' is segment %d of %d of a dmg image: open the first one", l.name, k.segment, k.segments)
	case k.segments > maxSegments:
		return qerr.New(syscall.ENOTSUP, "'%s' has %d segments, at most %d are supported", l.name, k.segments, maxSegments)
	}
	return nil
}

// addSegments takes the further segments in, in their order.
func (d *image) addSegments(l *loader, k koly, children map[string]formats.File) error {
	for i := uint32(2); i <= k.segments && len(children) > 0; i++ {
		f := children[role(i)]
		if f == nil {
			continue
		}
		next, err := findKoly(l.ctx, f)
		if err != nil {
			return qerr.Prepend(err, "Segment %d: ", i)
		}
		last := d.segments[len(d.segments)-1]
		if next.segment != i || next.segments != k.segments || next.dataOffset > next.at || next.running != last.end {
			return qerr.New(syscall.EINVAL, "Segment %d of '%s' says that it is %d of %d, from byte %d of the data; expected %d of %d from %d",
				i, l.name, next.segment, next.segments, next.running, i, k.segments, last.end)
		}
		d.segments = append(d.segments, next.place(f))
	}
	return nil
}
