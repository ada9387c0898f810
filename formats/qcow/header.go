package qcow

import (
	"context"
	"encoding/binary"
	"math"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

const (
	magic      = 0x514649fb
	headerSize = 48
	sectorSize = 512

	cryptNone = 0
	cryptAES  = 1

	maxBackingName = 1023
	maxL1Entries   = math.MaxInt32 / 8

	flagCompressed = 1 << 63
)

// header is what the first bytes of an image say.
type header struct {
	backingOffset uint64
	backingSize   uint32
	size          uint64 // bytes
	clusterBits   uint8
	l2Bits        uint8 // log2 of the entries of an L2 table
	crypt         uint32
	l1Offset      uint64

	l1Entries int64
	backing   string
}

func probe(head []byte, _ string) int {
	if len(head) >= headerSize && binary.BigEndian.Uint32(head) == magic && binary.BigEndian.Uint32(head[4:]) == 1 {
		return 100
	}
	return 0
}

// readHeader reads and checks the header and the backing file's name, in QEMU's order.
func readHeader(ctx context.Context, f formats.File) (*header, error) {
	raw := make([]byte, headerSize)
	if err := f.ReadAt(ctx, raw, 0); err != nil {
		return nil, err
	}
	be := binary.BigEndian
	if be.Uint32(raw) != magic {
		return nil, qerr.New(syscall.EINVAL, "Image not in qcow format")
	}
	if v := be.Uint32(raw[4:]); v != 1 {
		err := qerr.New(syscall.ENOTSUP, "qcow (v1) does not support qcow version %d", v)
		if v == 2 || v == 3 {
			err = qerr.WithHint(err, "Try the 'qcow2' driver instead.\n")
		}
		return nil, err
	}
	h := &header{backingOffset: be.Uint64(raw[8:]), backingSize: be.Uint32(raw[16:]), size: be.Uint64(raw[24:]),
		clusterBits: raw[32], l2Bits: raw[33], crypt: be.Uint32(raw[36:]), l1Offset: be.Uint64(raw[40:])}
	if err := h.validate(); err != nil {
		return nil, err
	}
	return h, h.readBacking(ctx, f)
}

func (h *header) validate() error {
	switch {
	case h.size <= 1:
		return qerr.New(syscall.EINVAL, "Image size is too small (must be at least 2 bytes)")
	case h.clusterBits < 9 || h.clusterBits > 16:
		return qerr.New(syscall.EINVAL, "Cluster size must be between 512 and 64k")
	case h.l2Bits < 9-3 || h.l2Bits > 16-3:
		return qerr.New(syscall.EINVAL, "L2 table size must be between 512 and 64k")
	case h.crypt > cryptAES:
		return qerr.New(syscall.EINVAL, "invalid encryption method in qcow header")
	}
	span := uint64(1) << (h.clusterBits + h.l2Bits)
	if h.size > math.MaxUint64-span || (h.size+span-1)/span > maxL1Entries {
		return qerr.New(syscall.EINVAL, "Image too large")
	}
	h.l1Entries = int64((h.size + span - 1) / span)
	if h.l1Offset > uint64(math.MaxInt64-h.l1Entries*8-l1Page) {
		return syscall.EIO
	}
	return nil
}

func (h *header) readBacking(ctx context.Context, f formats.File) error {
	if h.backingOffset == 0 {
		return nil
	}
	if h.backingSize > maxBackingName {
		return qerr.New(syscall.EINVAL, "Backing file name too long")
	}
	if h.backingOffset > math.MaxInt64-maxBackingName {
		return syscall.EIO
	}
	name := make([]byte, h.backingSize)
	if len(name) > 0 {
		if err := f.ReadAt(ctx, name, int64(h.backingOffset)); err != nil {
			return err
		}
	}
	for k, c := range name {
		if c == 0 {
			name = name[:k]
			break
		}
	}
	h.backing = string(name)
	return nil
}

// encode gives the header as it goes to disk.
func (h *header) encode() []byte {
	raw, be := make([]byte, headerSize), binary.BigEndian
	be.PutUint32(raw, magic)
	be.PutUint32(raw[4:], 1)
	be.PutUint64(raw[8:], h.backingOffset)
	be.PutUint32(raw[16:], h.backingSize)
	be.PutUint64(raw[24:], h.size)
	raw[32], raw[33] = h.clusterBits, h.l2Bits
	be.PutUint32(raw[36:], h.crypt)
	be.PutUint64(raw[40:], h.l1Offset)
	return raw
}
