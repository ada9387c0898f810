package luks1

import (
	"bytes"
	"encoding/binary"
	"syscall"

	"platter/formats/crypt"
	"platter/formats/qerr"
)

const (
	magic      = "LUKS\xba\xbe"
	version    = 1
	headerSize = 592
	nameLen    = 32
	digestLen  = 20
	saltLen    = 32
	uuidLen    = 40
	stripes    = 4000

	slotDisabled = 0x0000dead
	slotEnabled  = 0x00ac71f3

	// headerSectors are set aside for the header; every key material is aligned to as much.
	headerSectors = 4096 / crypt.SectorSize
)

// Slots is the number of key slots.
const Slots = 8

// header is the header as it is on disk.
type header struct {
	Magic        [6]byte
	Version      uint16
	CipherName   [nameLen]byte
	CipherMode   [nameLen]byte
	HashSpec     [nameLen]byte
	Payload      uint32 // sectors
	KeyLen       uint32 // bytes
	Digest       [digestLen]byte
	DigestSalt   [saltLen]byte
	DigestRounds uint32
	UUID         [uuidLen]byte
	Slots        [Slots]slot
}

type slot struct {
	State   uint32
	Rounds  uint32
	Salt    [saltLen]byte
	Start   uint32 // sectors
	Stripes uint32
}

// Probe reports whether a file that begins with head is LUKS version 1.
func Probe(head []byte) bool {
	return len(head) >= 8 && string(head[:6]) == magic && binary.BigEndian.Uint16(head[6:]) == version
}

func (h *header) decode(p []byte) {
	if err := binary.Read(bytes.NewReader(p), binary.BigEndian, h); err != nil {
		panic("luks1: " + err.Error()) // p is headerSize long
	}
}

func (h *header) encode() []byte {
	p, err := binary.Append(make([]byte, 0, headerSize), binary.BigEndian, h)
	if err != nil {
		panic("luks1: " + err.Error())
	}
	return p
}

// text gives the string in a field, which ends at the first NUL.
func text(field []byte) string {
	s, _, _ := bytes.Cut(field, []byte{0})
	return string(s)
}

// materialSectors is the room of one key material, in sectors: aligned as the header is.
func materialSectors(keyLen uint32, stripes uint32) uint64 {
	n := (uint64(keyLen)*uint64(stripes) + crypt.SectorSize - 1) / crypt.SectorSize
	return (n + headerSectors - 1) / headerSectors * headerSectors
}

func invalid(format string, a ...any) error { return qerr.New(syscall.EINVAL, format, a...) }

// check is what must hold for any header; detached is that the payload is elsewhere, so that nothing can overlap it.
func (h *header) check(detached bool) error {
	if string(h.Magic[:]) != magic {
		return invalid("Volume is not in LUKS format")
	}
	if h.Version != version {
		return qerr.New(syscall.ENOTSUP, "LUKS version %d is not supported", h.Version)
	}
	for _, f := range []struct {
		field []byte
		name  string
	}{{h.CipherName[:], "cipher name"}, {h.CipherMode[:], "cipher mode"}, {h.HashSpec[:], "hash spec"}} {
		if bytes.IndexByte(f.field, 0) < 0 {
			return invalid("LUKS header %s is not NUL terminated", f.name)
		}
	}
	if !detached && h.Payload < headerSectors {
		return invalid("LUKS payload is overlapping with the header")
	}
	if h.DigestRounds == 0 {
		return invalid("LUKS key iteration count is zero")
	}
	for i := range h.Slots {
		if err := h.checkSlot(i, detached); err != nil {
			return err
		}
	}
	return nil
}

func (h *header) checkSlot(i int, detached bool) error {
	s := &h.Slots[i]
	end := uint64(s.Start) + materialSectors(h.KeyLen, s.Stripes)
	switch {
	case s.Stripes != stripes:
		return invalid("Keyslot %d is corrupted (stripes %d != %d)", i, int32(s.Stripes), stripes)
	case s.State != slotDisabled && s.State != slotEnabled:
		return invalid("Keyslot %d state (active/disable) is corrupted", i)
	case s.State == slotEnabled && s.Rounds == 0:
		return invalid("Keyslot %d iteration count is zero", i)
	case s.Start < headerSectors:
		return invalid("Keyslot %d is overlapping with the LUKS header", i)
	case !detached && end > uint64(h.Payload):
		return invalid("Keyslot %d is overlapping with the encrypted payload", i)
	}
	for j := i + 1; j < Slots; j++ {
		// The other slot's own number of stripes is not checked yet, and not relied upon.
		o := &h.Slots[j]
		if uint64(o.Start) < end && uint64(s.Start) < uint64(o.Start)+materialSectors(h.KeyLen, stripes) {
			return invalid("Keyslots %d and %d are overlapping in the header", i, j)
		}
	}
	return nil
}
