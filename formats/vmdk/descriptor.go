package vmdk

import (
	"bytes"
	"context"
	"math"
	"strconv"
	"strings"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

const (
	sector = 512

	// embeddedAt is where the descriptor stands in a sparse file, in bytes.
	embeddedAt = 0x200
	// descriptorArea is the space that an embedded descriptor has, in bytes.
	descriptorArea = 20 * sector
	// maxText bounds a descriptor file, in bytes.
	maxText = 1<<20 - 1
	// maxSectors bounds all sizes and offsets: what is more does not fit a byte offset.
	maxSectors = math.MaxInt64 / sector
)

// readText reads the start of a file: a descriptor, or a sparse extent that is told by its magic.
func readText(ctx context.Context, f formats.File, off int64) ([]byte, error) {
	size := f.Size()
	if size < 4 {
		return nil, qerr.New(syscall.EINVAL, "File is too small, not a valid image")
	}
	text := make([]byte, min(size, maxText))
	if err := f.ReadAt(ctx, text, off); err != nil {
		return nil, qerr.Errno(qerr.Of(err), "Could not read from file")
	}
	return text, nil
}

// untilNUL is the text before the first zero byte.
func untilNUL(p []byte) string {
	if n := bytes.IndexByte(p, 0); n >= 0 {
		p = p[:n]
	}
	return string(p)
}

// createType finds the kind of disk that a descriptor file describes.
func createType(text string) (string, error) {
	_, rest, ok := strings.Cut(text, "createType")
	rest = strings.TrimLeft(rest, " \t=")
	if ok = ok && strings.HasPrefix(rest, `"`); ok {
		rest, _, ok = strings.Cut(rest[1:], `"`)
	}
	if !ok || len(rest) > 127 {
		return "", qerr.New(syscall.EINVAL, "invalid VMDK image descriptor")
	}
	switch rest {
	case "monolithicFlat", "vmfs", "vmfsSparse", "seSparse", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat":
		return rest, nil
	}
	return "", qerr.New(syscall.ENOTSUP, "Unsupported image type '%s'", rest)
}

// extentLine is a line of a descriptor that names an extent.
type extentLine struct {
	sectors int64
	kind    string // FLAT, SPARSE, VMFS, VMFSSPARSE, SESPARSE
	name    string
	offset  int64 // in sectors, of flat extents
}

func (l extentLine) flat() bool { return l.kind == "FLAT" || l.kind == "VMFS" }

// extentLines parses what a descriptor says of extents: ACCESS SECTORS KIND "NAME" [OFFSET]. What is not RW, or of an
// unknown kind, does not count.
func extentLines(text string) ([]extentLine, error) {
	var lines []extentLine
	for line := range strings.Lines(text) {
		l, fields := scanExtent(line)
		if fields < 4 {
			continue
		}
		valid := fields == 4
		if l.kind == "FLAT" {
			valid = fields == 5 && l.offset >= 0
		}
		if !valid {
			return nil, qerr.New(syscall.EINVAL, "Invalid extent line: %s", strings.TrimSuffix(line, "\n"))
		}
		switch l.kind {
		case "FLAT", "SPARSE", "VMFS", "VMFSSPARSE", "SESPARSE":
		default:
			continue
		}
		if l.sectors <= 0 {
			continue
		}
		if l.sectors > maxSectors || l.offset > maxSectors {
			return nil, qerr.New(syscall.EFBIG, "Invalid extent line: %s", strings.TrimSuffix(line, "\n"))
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// scanExtent takes the fields of a line as far as they are there, and counts them; 0 for what is no RW line.
func scanExtent(line string) (l extentLine, fields int) {
	s := scanner{line}
	if s.word() != "RW" {
		return l, 0
	}
	var ok bool
	if l.sectors, ok = s.number(); !ok {
		return l, 1
	}
	if l.kind = s.word(); l.kind == "" {
		return l, 2
	}
	s.space()
	if !strings.HasPrefix(s.rest, `"`) {
		return l, 3
	}
	l.name = s.rest[1:]
	if end := strings.IndexAny(l.name, "\"\r\n"); end >= 0 {
		l.name = l.name[:end]
	}
	l.name = l.name[:min(len(l.name), 511)]
	if l.name == "" {
		return l, 3
	}
	s.rest = s.rest[1+len(l.name):]
	if !strings.HasPrefix(s.rest, `"`) {
		return l, 4
	}
	s.rest = s.rest[1:]
	if l.offset, ok = s.number(); !ok {
		return l, 4
	}
	return l, 5
}

// scanner takes words off a line.
type scanner struct{ rest string }

func (s *scanner) space() { s.rest = strings.TrimLeft(s.rest, " \t\r\n\v\f") }

// word takes at most 10 bytes that are no white space.
func (s *scanner) word() string {
	s.space()
	n := strings.IndexAny(s.rest, " \t\r\n\v\f")
	if n < 0 {
		n = len(s.rest)
	}
	n = min(n, 10)
	w := s.rest[:n]
	s.rest = s.rest[n:]
	return w
}

// number takes a decimal number; one that is too large becomes the largest.
func (s *scanner) number() (int64, bool) {
	s.space()
	n := 0
	for n < len(s.rest) && (s.rest[n] >= '0' && s.rest[n] <= '9' || n == 0 && (s.rest[n] == '-' || s.rest[n] == '+')) {
		n++
	}
	v, err := strconv.ParseInt(s.rest[:n], 10, 64)
	if err != nil && v == 0 {
		return 0, false
	}
	s.rest = s.rest[n:]
	return v, true
}

// parentName finds the name of the parent disk; "" if there is none.
func parentName(text string) (name string, ok bool) {
	_, rest, found := strings.Cut(text, "parentFileNameHint")
	if !found {
		return "", true
	}
	rest = strings.TrimLeft(rest, " \t=")
	if !strings.HasPrefix(rest, `"`) {
		return "", false
	}
	name, _, ok = strings.Cut(rest[1:], `"`)
	return name, ok && len(name) < 4096
}

// contentID finds the value of CID or parentCID, and where its digits stand in the text.
func contentID(text, key string) (id uint32, at, digits int, ok bool) {
	for from := 0; ; {
		n := strings.Index(text[from:], key)
		if n < 0 {
			return 0, 0, 0, false
		}
		n += from
		from = n + len(key)
		if n > 0 && !strings.ContainsRune(" \t\r\n", rune(text[n-1])) {
			continue // CID within parentCID
		}
		at = from + len(text[from:]) - len(strings.TrimLeft(text[from:], " \t="))
		hex := strings.TrimPrefix(strings.TrimPrefix(text[at:], "0x"), "0X")
		at = len(text) - len(hex)
		for digits = 0; digits < len(hex) && strings.IndexByte("0123456789abcdefABCDEF", hex[digits]) >= 0; {
			digits++
		}
		v, err := strconv.ParseUint(hex[:min(digits, 16)], 16, 64)
		if err != nil {
			return 0, 0, 0, false
		}
		return uint32(v), at, digits, true
	}
}
