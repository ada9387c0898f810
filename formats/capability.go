package formats

import (
	"context"

	"platter/formats/bitmap"
	"platter/formats/option"
	"platter/formats/qobj"
)

// The control plane: what an image may be able to do beside moving data. Each is looked for with [As]. Those marked
// exclusive are called while no request is in flight (chain.Node.Exclusive).

// Unwrapper is a File that wraps an image: a node of the graph.
type Unwrapper interface{ Unwrap() Image }

// As finds capability T in f or in the image that f wraps.
func As[T any](f Image) (T, bool) {
	for f != nil {
		if t, ok := f.(T); ok {
			return t, true
		}
		u, ok := f.(Unwrapper)
		if !ok {
			break
		}
		f = u.Unwrap()
	}
	var none T
	return none, false
}

// Backed is an image that may have a backing file.
type Backed interface {
	// BackingFile gives the name and the format (may be "") as the image states them; name "" means none.
	BackingFile() (name, format string)
	// SetBacking attaches the open backing file, or detaches it with nil. It is called before the first request,
	// and exclusively afterwards. A driver that finds the file unfit (a wrong parent) returns the reason.
	SetBacking(f File) error
}

// Rebacker rewrites the stored reference to the backing file; name "" removes it. Exclusive.
type Rebacker interface {
	ChangeBacking(ctx context.Context, name, format string) error
}

// Adopter is an image that refers to its backing file by an identifier which writing to that file changes.
type Adopter interface {
	// AdoptBacking changes the identifier now, in the backing file, which is open for writing, and in the image, so that
	// the image can be read whatever is written to the backing file until that is closed. Exclusive.
	AdoptBacking(ctx context.Context) error
}

// Emptier drops all that this layer holds, so that the backing file shows through (commit). Exclusive.
type Emptier interface {
	MakeEmpty(ctx context.Context) error
}

// Grower is an image that can be made longer and never shorter, so that its growth cannot be taken back.
type Grower interface{ OnlyGrows() }

// Describer tells of an image.
type Describer interface {
	// Info is QEMU's bdrv_get_info; ENOTSUP where QEMU's driver has none.
	Info(ctx context.Context) (Info, error)
	// Specific is the "format-specific" part: its QAPI type and the data, nil if there is none.
	Specific(ctx context.Context) (kind string, data *qobj.Dict, err error)
}

// Info is what QEMU's BlockDriverInfo holds, sizes in bytes.
type Info struct {
	ClusterSize    int64 // 0: none
	SubclusterSize int64
	VMStateOffset  int64
	Dirty          bool
	Encrypted      bool
	OnlyCompressed bool // images of this kind can only be written compressed (streamOptimized)
}

// Layered is a File that sees through its backing files: every node of the graph.
type Layered interface {
	// ChainStatus is Status for the whole chain: the extent of the first layer that holds the range.
	ChainStatus(ctx context.Context, off, n int64) (Extent, error)
}

// Encrypted is an image whose content is encrypted.
type Encrypted interface{ Encrypted() bool }

// HostSized knows the space in bytes that it takes on its host; without it the graph adds up the children's.
type HostSized interface {
	AllocatedSize(ctx context.Context) (int64, error)
}

// Named is a protocol image that has a plain file name; without one the graph makes a json: name.
type Named interface{ FileName() string }

// Optioned is a protocol image whose runtime options are not said by a file name alone: the options that open it again,
// driver included.
type Optioned interface{ FullOptions() *qobj.Dict }

// HostFile is a protocol image that is a file of this machine; data may be moved past the driver where offset and
// length are known (Extent.Where). ok is false where that must not be done.
type HostFile interface{ FD() (fd int, ok bool) }

// Identified is a file that can be told from others of the machine.
type Identified interface {
	Identity() (dev, ino uint64, ok bool)
}

// Locker is a protocol image that is opened before its user is known: the locks are taken afterwards.
type Locker interface {
	Lock(perm, shared Perm) error
}

// Padded is a protocol image whose Status answers for the whole of the last sector, of which the image may hold a part.
type Padded interface {
	StatusOfPadding() Extent
}

// Fixed is a protocol image of which nobody can change the size.
type Fixed interface {
	// TooSmall is why it cannot take a larger image.
	TooSmall() error
}

// FixMode says what check may repair.
type FixMode uint8

// The modes of check -r.
const (
	FixLeaks FixMode = 1 << iota
	FixErrors
)

// CheckResult counts what check found. Offsets are bytes, the rest are clusters or entries.
type CheckResult struct {
	Corruptions      int64
	Leaks            int64
	CheckErrors      int64
	CorruptionsFixed int64
	LeaksFixed       int64
	ImageEndOffset   int64

	AllocatedClusters  int64
	TotalClusters      int64
	FragmentedClusters int64
	CompressedClusters int64
}

// Checker checks, and with fix repairs, an image's structures. Findings go to env.Report, a line each, in QEMU's
// words. Exclusive.
type Checker interface {
	Check(ctx context.Context, fix FixMode, env *Env) (CheckResult, error)
}

// Amender changes creation options of an existing image. progress is called with the work done and the total (any
// unit) and may be nil. Exclusive.
type Amender interface {
	Amend(ctx context.Context, v *option.Values, force bool, progress func(done, total int64), env *Env) error
}

// Snapshot is an internal snapshot.
type Snapshot struct {
	ID, Name    string
	VMStateSize uint64 // bytes
	DateSec     uint32 // seconds since 1970
	DateNsec    uint32
	VMClock     uint64 // nanoseconds of guest time
	ICount      uint64 // instructions; all ones: unknown
	DiskSize    int64  // bytes; -1: unknown
}

// Snapshotter keeps internal snapshots.
type Snapshotter interface {
	// Snapshots lists them in the image's order.
	Snapshots(ctx context.Context) ([]Snapshot, error)
	// CreateSnapshot takes one; an empty ID is chosen by the driver. Exclusive.
	CreateSnapshot(ctx context.Context, s Snapshot) (Snapshot, error)
	// ApplySnapshot makes the disk what it was, found by ID, then by name. Exclusive.
	ApplySnapshot(ctx context.Context, idOrName string) error
	// DeleteSnapshot removes the one with that ID and name; an empty string matches any. Exclusive.
	DeleteSnapshot(ctx context.Context, id, name string) error
	// OpenSnapshot gives a read-only view that stays right while the image is written; its Close leaves the image
	// open. The same matching as DeleteSnapshot.
	OpenSnapshot(ctx context.Context, id, name string) (Image, error)
}

// SnapshotRenamer is a Snapshotter whose snapshots can get another name; ID and name match as for DeleteSnapshot.
// Exclusive.
type SnapshotRenamer interface {
	RenameSnapshot(ctx context.Context, id, name, to string) error
}

// StretchableView is a snapshot view that can be looked at as if the disk had had another size then. Where it is longer the
// snapshot's tables decide what is there, nothing as a rule. Before any other use of the view.
type StretchableView interface {
	Stretch(size int64)
}

// VMStateReader reads the saved state of a virtual machine that belongs to a snapshot view.
type VMStateReader interface {
	ReadVMState(ctx context.Context, p []byte, off int64) error
}

// BitmapInfo describes a persistent dirty bitmap (QAPI Qcow2BitmapInfo and BlockDirtyInfo).
type BitmapInfo struct {
	Name         string
	Granularity  int64 // bytes a bit
	Count        int64 // dirty bytes
	InUse        bool  // flag on disk: not stored cleanly
	Auto         bool  // flag on disk: enabled
	Enabled      bool  // records writes now
	Inconsistent bool  // cannot be used, only removed
	// Transient: shown, but not one of those that QEMU calls persistent, which convert copies and measure counts.
	Transient bool
}

// BitmapReader is an image that has dirty bitmaps, of which it need not be able to change any. Names are those of the
// image; errors are QEMU's.
type BitmapReader interface {
	Bitmaps(ctx context.Context) ([]BitmapInfo, error)
	// Bitmap gives a copy of the bits.
	Bitmap(ctx context.Context, name string) (*bitmap.Bitmap, error)
}

// BitmapStore keeps persistent dirty bitmaps and records writes in the enabled ones (see Recorder). All that it adds to
// BitmapReader is exclusive.
type BitmapStore interface {
	BitmapReader
	// AddBitmap makes a bitmap; granularity 0 chooses the default.
	AddBitmap(ctx context.Context, name string, granularity int64, enabled bool) error
	RemoveBitmap(ctx context.Context, name string) error
	RenameBitmap(ctx context.Context, from, to string) error
	ClearBitmap(ctx context.Context, name string) error
	EnableBitmap(ctx context.Context, name string, on bool) error
	// MergeBitmap sets in name what is set in src.
	MergeBitmap(ctx context.Context, name string, src *bitmap.Bitmap) error
}

// Recorder is told by the graph of every range that a write, write of zeroes or discard is about to change, before
// the request starts; it must be fast and not block on I/O.
type Recorder interface {
	Record(off, n int64)
}
