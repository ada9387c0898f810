package dmg

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// The kinds of chunks.
const (
	kindZero   = 0
	kindRaw    = 1
	kindIgnore = 2
	kindADC    = 0x80000004
	kindZlib   = 0x80000005
	kindBzip2  = 0x80000006
	kindLZFSE  = 0x80000007
	kindLZMA   = 0x80000008

	kindComment = 0x7ffffffe
	kindLast    = 0xffffffff
)

const (
	mishMagic  = "mish"
	mishHeader = 204
	mishEntry  = 40
	maxLength  = 64 << 20 // of a chunk, stored or decompressed
	maxTables  = 16 << 20 // of a property list or resource fork
)

// chunk is a run of sectors of the disk.
type chunk struct {
	first, count uint64 // sectors
	offset       uint64 // bytes, in the data fork
	length       uint32 // bytes
	kind         uint32
}

// empty reports whether the chunk holds zeroes.
func (c *chunk) empty() bool { return c.kind == kindZero || c.kind == kindIgnore }

// size is the length in bytes of what a chunk with data decompresses to: at most maxLength.
func (c *chunk) size() int64 { return int64(c.count) * sectorSize }

// loader collects the chunks while an image is opened.
type loader struct {
	ctx    context.Context
	name   string
	env    *formats.Env
	chunks []chunk
	warn   sync.Once
}

// stockProgram begins the names under which nothing is printed that stock does not print.
const stockProgram = "qemu-img"

// invalid is QEMU's message, which tells no reason. The reason follows as a hint, unless the program stands in for stock.
func (l *loader) invalid(format string, a ...any) error {
	err := qerr.Errno(syscall.EINVAL, "Could not open '%s'", l.name)
	if strings.HasPrefix(l.env.Program, stockProgram) {
		return err
	}
	return qerr.WithHint(err, "dmg: "+fmt.Sprintf(format, a...)+"\n")
}

// reported is the same where QEMU itself writes the reason first.
func (l *loader) reported(format string, a ...any) error {
	l.env.ReportError(format, a...)
	return qerr.Errno(syscall.EINVAL, "Could not open '%s'", l.name)
}

// addTable takes the chunks of a table in. What is no table is passed over.
func (l *loader) addTable(p []byte) error {
	if len(p) < mishHeader+mishEntry || string(p[:4]) != mishMagic {
		return nil
	}
	be := binary.BigEndian
	first, base := be.Uint64(p[8:]), be.Uint64(p[24:])
	for p = p[mishHeader:]; len(p) >= mishEntry; p = p[mishEntry:] {
		c := chunk{kind: be.Uint32(p), first: first + be.Uint64(p[8:]), count: be.Uint64(p[16:]), offset: base + be.Uint64(p[24:])}
		if !l.known(c.kind) {
			continue
		}
		if err := l.add(c, be.Uint64(p[32:])); err != nil {
			return err
		}
	}
	return nil
}

// known reports whether a kind can be read, and warns of one that is not.
func (l *loader) known(kind uint32) bool {
	switch kind {
	case kindZero, kindRaw, kindIgnore, kindADC, kindZlib, kindBzip2, kindLZFSE, kindLZMA:
		return true
	case kindComment, kindLast:
		return false
	}
	l.warn.Do(func() {
		l.env.Warn("Image contains chunks of unknown type %x, accessing them will result in I/O errors", kind)
	})
	return false
}

// add checks a chunk. A run of zeroes may have any length that a disk can have.
func (l *loader) add(c chunk, length uint64) error {
	const most = maxLength / sectorSize
	switch {
	case !c.empty() && c.count > most:
		return l.reported("sector count %d for chunk %d is larger than max (%d)", c.count, len(l.chunks), most)
	case length > maxLength:
		return l.reported("length %d for chunk %d is larger than max (%d)", length, len(l.chunks), maxLength)
	case c.first > maxSectors || c.count > maxSectors-c.first:
		return l.invalid("chunk %d at sector %d with %d sectors lies beyond any disk", len(l.chunks), c.first, c.count)
	case c.count == 0:
		return nil
	}
	c.length = uint32(length)
	if n := len(l.chunks); n > 0 && c.empty() {
		if last := &l.chunks[n-1]; last.empty() && last.first+last.count == c.first {
			last.count += c.count
			return nil
		}
	}
	l.chunks = append(l.chunks, c)
	return nil
}

// sorted gives the chunks by their sectors.
func (l *loader) sorted() []chunk {
	slices.SortStableFunc(l.chunks, func(a, b chunk) int { return cmp.Compare(a.first, b.first) })
	return slices.Clip(l.chunks)
}
