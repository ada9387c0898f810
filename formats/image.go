package formats

import "context"

// Image is one open node as its driver sees it. See the package comment for what holds when a method is called.
type Image interface {
	// Size is the virtual size in bytes. It need not be a multiple of 512; the graph shows it rounded up.
	Size() int64
	// Limits says what requests look like. It may change with the image (after a resize, say) but is cheap.
	Limits() Limits
	// ReadAt fills p with the content at off, of this layer and what lies behind it.
	ReadAt(ctx context.Context, p []byte, off int64) error
	// Status describes the longest run, at most n bytes, that starts at off and is of one kind, in this layer only.
	Status(ctx context.Context, off, n int64) (Extent, error)
	// Flush returns when everything that completed before the call survives a loss of power.
	Flush(ctx context.Context) error
	// Close flushes, frees what the image holds and reports the first error of both. It is called once.
	Close() error
}

// What a driver may add to the data plane. The graph emulates or refuses what is absent.
type (
	// Writer is an image that can be written.
	Writer interface {
		WriteAt(ctx context.Context, p []byte, off int64, f WriteFlags) error
	}
	// Zeroer writes zeroes without transferring them. syscall.ENOTSUP makes the graph write the zeroes instead.
	// Requests are split so that each is a multiple of Limits().ZeroAlign or lies within one such unit.
	Zeroer interface {
		WriteZeroes(ctx context.Context, off, n int64, f WriteFlags) error
	}
	// Discarder gives storage up. What the range reads as afterwards is zeroes, the old content, or the backing
	// file's, as the format defines. syscall.ENOTSUP is not an error to the caller. Ranges are split as for Zeroer,
	// by DiscardAlign.
	Discarder interface {
		Discard(ctx context.Context, off, n int64) error
	}
	// Resizer changes the virtual size (or the length of a protocol's file). size is in bytes, a multiple of 512 for
	// formats. What is added reads as zeroes. It runs exclusively.
	Resizer interface {
		Truncate(ctx context.Context, size int64, pre Prealloc) error
	}
	// CompressedWriter writes one cluster compressed: off is a multiple of the cluster size, p a whole cluster or
	// the shorter rest at the end of the image. An empty p finishes a stream that must be ended (vmdk).
	CompressedWriter interface {
		WriteCompressed(ctx context.Context, p []byte, off int64) error
	}
)

// HostCopier is an image that can take data out of a file of this machine, which the file system copies or shares.
type HostCopier interface {
	// CopyIn makes [off, off+n) what lies in the open file fd from offset from on. With ENOTSUP nothing was done, and the
	// data is to be written instead; after any other error a part of it may be there.
	CopyIn(ctx context.Context, off, n int64, fd int, from int64) error
}

// File is what a driver is given as a child: every data operation, any alignment. chain.Node implements it. An
// operation that the storage below cannot do fails with syscall.ENOTSUP.
type File interface {
	Image
	Writer
	Zeroer
	Discarder
	Resizer
}

// WriteFlags modify a write.
type WriteFlags uint8

const (
	// FUA asks that this write survives a loss of power when the call returns.
	FUA WriteFlags = 1 << iota
	// MayUnmap allows WriteZeroes to give up the storage of the range.
	MayUnmap
	// NoFallback makes WriteZeroes fail with ENOTSUP instead of writing zeroes the slow way.
	NoFallback
)

// Limits are the facts about requests that the graph and the tools need. Sizes are in bytes.
type Limits struct {
	Align        int64 // request alignment, a power of two; 0 means 1
	ZeroAlign    int64 // granularity at which WriteZeroes is efficient; 0 means Align
	DiscardAlign int64 // granularity at which Discard has an effect; 0 means Align
	MaxTransfer  int64 // longest single request; 0 means no limit
	ZeroInit     bool  // a newly created image reads as zeroes (QEMU's bdrv_has_zero_init)
	ZeroUnmap    bool  // WriteZeroes honours MayUnmap
	Growable     bool  // writes past the end grow the image when it is a child
}

// Prealloc is a preallocation mode of create and resize (QAPI PreallocMode).
type Prealloc uint8

// The modes, in QAPI's order.
const (
	PreallocOff Prealloc = iota
	PreallocMetadata
	PreallocFalloc
	PreallocFull
)

var preallocNames = [...]string{"off", "metadata", "falloc", "full"}

// String is the mode's QAPI name.
func (p Prealloc) String() string { return preallocNames[p] }

// ParsePrealloc finds a mode by its QAPI name.
func ParsePrealloc(s string) (Prealloc, bool) {
	for i, n := range preallocNames {
		if n == s {
			return Prealloc(i), true
		}
	}
	return 0, false
}
