package luks2

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"hash"
	"syscall"

	"platter/formats/crypt"
	"platter/formats/qerr"
)

const (
	firstMagic  = "LUKS\xba\xbe"
	secondMagic = "SKUL\xba\xbe"
	version     = 2
	binarySize  = 4096
	minSize     = 16 << 10
	maxSize     = 4 << 20
	saltOffset  = 104
	sumOffset   = 448
	sumLen      = 64
)

// header is one of the two headers, its checksum verified.
type header struct {
	size   uint64 // bytes, with the JSON area
	seq    uint64
	label  string
	uuid   string
	json   []byte
	binary [binarySize]byte
	second bool // it is the second copy
}

// Probe reports whether a file that begins with head is LUKS version 2.
func Probe(head []byte) bool {
	return len(head) >= 8 && string(head[:6]) == firstMagic && binary.BigEndian.Uint16(head[6:]) == version
}

// Damaged reports whether the second header of a container whose first one is not to be recognised is whole.
func Damaged(read crypt.ReadFunc) bool {
	h, err := load(read)
	return err == nil && h.second
}

func invalid(format string, a ...any) error { return qerr.New(syscall.EINVAL, format, a...) }

func unsupported(format string, a ...any) error { return qerr.New(syscall.ENOTSUP, format, a...) }

func text(field []byte) string {
	s, _, _ := bytes.Cut(field, []byte{0})
	return string(s)
}

// load finds the valid header with the higher sequence number. Without a valid first one, the second can start at any
// of the sizes that a header may have.
func load(read crypt.ReadFunc) (*header, error) {
	first, err := loadOne(read, 0, firstMagic)
	if err == nil {
		if second, err := loadOne(read, first.size, secondMagic); err == nil && second.seq > first.seq {
			return second, nil
		}
		return first, nil
	}
	for off := uint64(minSize); off <= maxSize; off *= 2 {
		if second, err := loadOne(read, off, secondMagic); err == nil {
			return second, nil
		}
	}
	return nil, err
}

func loadOne(read crypt.ReadFunc, off uint64, magic string) (*header, error) {
	var p [binarySize]byte
	if err := read(int64(off), p[:]); err != nil {
		return nil, err
	}
	be := binary.BigEndian
	if string(p[:6]) != magic {
		return nil, invalid("Volume is not in LUKS format")
	}
	if v := be.Uint16(p[6:]); v != version {
		return nil, unsupported("LUKS version %d is not supported", v)
	}
	h := &header{size: be.Uint64(p[8:]), seq: be.Uint64(p[16:]), label: text(p[24:72]), uuid: text(p[168:208]),
		binary: p, second: off != 0}
	if h.size < minSize || h.size > maxSize || h.size&(h.size-1) != 0 {
		return nil, invalid("LUKS2 header size %d is not valid", h.size)
	}
	if at := be.Uint64(p[256:]); at != off {
		return nil, invalid("LUKS2 header at offset %d says that it is at offset %d", off, at)
	}
	area := make([]byte, h.size-binarySize)
	if err := read(int64(off+binarySize), area); err != nil {
		return nil, err
	}
	if err := verify(p[:], area); err != nil {
		return nil, err
	}
	h.json, _, _ = bytes.Cut(area, []byte{0})
	return h, nil
}

// verify computes the checksum of a header with the checksum's own field zero.
func verify(p, area []byte) error {
	sum := newSum(p)
	if sum == nil {
		return unsupported("LUKS2 checksum algorithm '%s' is not supported", text(p[72:104]))
	}
	sum.Write(p[:sumOffset])
	sum.Write(make([]byte, sumLen))
	sum.Write(p[sumOffset+sumLen:])
	sum.Write(area)
	want := p[sumOffset : sumOffset+sum.Size()]
	if !bytes.Equal(sum.Sum(nil), want) {
		return invalid("LUKS2 header checksum does not match")
	}
	return nil
}

// newSum gives the hash that the binary header p names; nil if it is not known.
func newSum(p []byte) hash.Hash {
	switch text(p[72:104]) {
	case "sha256":
		return sha256.New()
	case "sha512":
		return sha512.New()
	}
	return nil
}
