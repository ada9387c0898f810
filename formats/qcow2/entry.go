package qcow2

import "math/bits"

// guestOff is a byte offset in the virtual disk (or, past its end, in the saved VM state).
type guestOff int64

// hostOff is a byte offset in the image file, or in the external data file where data lives there.
type hostOff int64

// Bits of L1 and L2 entries ("L1 table entry" and "L2 table entry" of the specification).
const (
	flagCopied     = 1 << 63 // the refcount is exactly 1
	flagCompressed = 1 << 62
	flagZero       = 1 << 0

	entryOffset = 0x00fffffffffffe00 // host offset of an L2 table or cluster

	l1Reserved  = 0x7f000000000001ff
	l2Reserved  = 0x3f000000000001fe // of standard cluster descriptors
	refReserved = 0x1ff              // of refcount table entries
)

// subclusters is the number of parts of a cluster that an extended L2 entry keeps apart.
const subclusters = 32

// kind says how a piece of the guest's disk is stored.
type kind uint8

const (
	unallocated      kind = iota // the backing file's, no host cluster
	unallocatedAlloc             // the backing file's, although the cluster has a place in the file (subclusters)
	zeroPlain                    // zeroes, no host cluster
	zeroAlloc                    // zeroes, with a host cluster
	normal
	compressed
	invalid
)

// hasHost reports whether pieces of this kind own a host cluster of their own.
func (k kind) hasHost() bool { return k == normal || k == zeroAlloc || k == unallocatedAlloc }

// clusterKind classifies a whole cluster by its entry; subclusters are looked at by subKind.
func (i *image) clusterKind(entry uint64) kind {
	switch {
	case entry&flagCompressed != 0:
		return compressed
	case entry&flagZero != 0 && !i.extended():
		if entry&entryOffset != 0 || i.external() && entry&flagCopied != 0 {
			return zeroAlloc
		}
		return zeroPlain
	case entry&entryOffset == 0:
		// With an external data file offset 0 is a place like any other; the flag says that it is used.
		if i.external() && entry&flagCopied != 0 {
			return normal
		}
		return unallocated
	}
	return normal
}

// subKind classifies subcluster sc of an extended entry.
func (i *image) subKind(entry, bitmap uint64, sc int) kind {
	k := i.clusterKind(entry)
	if k == compressed { // the bitmap must be 0 there, but QEMU does not look
		return k
	}
	alloc, zero := bitmap>>sc&1 != 0, bitmap>>(sc+32)&1 != 0
	switch {
	case alloc && zero, alloc && k == unallocated:
		return invalid
	case k == normal && zero:
		return zeroAlloc
	case k == normal && alloc:
		return normal
	case k == normal:
		return unallocatedAlloc
	case zero:
		return zeroPlain
	}
	return unallocated
}

// run is a piece of an entry's cluster that is of one kind.
func (i *image) subRun(entry, bitmap uint64, sc int) (kind, int) {
	k := i.subKind(entry, bitmap, sc)
	if k == compressed || k == invalid {
		return k, subclusters - sc
	}
	n := 1
	for sc+n < subclusters && i.subKind(entry, bitmap, sc+n) == k {
		n++
	}
	return k, n
}

// allocMask and zeroMask are the bits of subclusters [from, to).
func allocMask(from, to int) uint64 { return 1<<to - 1<<from }

func zeroMask(from, to int) uint64 { return allocMask(from, to) << 32 }

const (
	allAlloc = 1<<32 - 1
	allZero  = allAlloc << 32
)

// firstAlloc is the first subcluster with its own data, 32 if there is none; lastAlloc is the last one, -1 if none.
func firstAlloc(bitmap uint64) int { return bits.TrailingZeros64(bitmap&allAlloc | 1<<32) }

func lastAlloc(bitmap uint64) int { return 63 - bits.LeadingZeros64(bitmap&allAlloc) }

// compressedAt decodes a compressed cluster descriptor: where the stream begins and an upper bound of its length,
// which runs to the end of a sector.
func (i *image) compressedAt(entry uint64) (hostOff, int64) {
	shift := 62 - (i.clusterBits - 8)
	off := int64(entry & (1<<shift - 1))
	sectors := int64(entry>>shift&(1<<(i.clusterBits-8)-1)) + 1
	return hostOff(off), sectors*512 - off&511
}

// compressedEntry encodes a compressed cluster descriptor.
func (i *image) compressedEntry(off hostOff, n int64) uint64 {
	shift := 62 - (i.clusterBits - 8)
	more := (int64(off)+n-1)/512 - int64(off)/512
	return uint64(off) | flagCompressed | uint64(more)<<shift
}
