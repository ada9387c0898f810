package qcow2

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"platter/formats"
	"platter/formats/crypt"
	"platter/formats/crypt/luks1"
	"platter/formats/internal/tablecache"
	"platter/formats/qerr"
)

// image is an open qcow2 image.
type image struct {
	name    string
	file    formats.File // holds the metadata …
	data    formats.File // … and this the guest's data: the same file, or the external data file
	backing formats.File
	flags   formats.OpenFlags
	env     *formats.Env
	events  formats.Events
	opts    options

	hdr           *header
	dataApart     bool // data lives in an external data file
	clusterBits   uint
	clusterSize   int64
	l2Bits        uint // log2 of the entries of an L2 table
	entryWords    int  // 1, or 2 with extended L2 entries
	sliceBits     uint // log2 of the entries of a slice
	subBits       uint // log2 of the subcluster size (the cluster size without subclusters)
	refOrder      uint // log2 of the refcount width in bits
	refMax        uint64
	refBlockBits  uint // log2 of the refcounts in a block
	size          atomic.Int64
	vmStateAt     guestOff     // where VM state begins: behind the last L2 table of the disk
	cipher        *crypt.Block // nil if not encrypted, or not unlocked
	luks          *luks1.Volume
	cleaner       *time.Timer
	closed        bool
	zeroInit      bool // see readsZeroNew
	creating      bool // a new image: nothing has to survive a crash before it is complete
	snapshots     snapshotTable
	bitmaps       bitmapSet
	clusters      decodedClusters
	requests      epochs
	corrupt       atomic.Bool // marked corrupt since it was opened: nothing works any more
	corruptWarned atomic.Bool
	recurse       atomic.Int32 // whether data clusters may be holes: 0 unknown, 1 no, 2 yes
	commitMu      sync.Mutex
	tickets       atomic.Uint64 // calls of commit …
	committed     uint64        // … and the last one that a commit has served
	mu            sync.Mutex
	linked        *sync.Cond // with mu: a pending allocation has ended
	pending       []*allocation
	l1            []uint64 // active L1 table; entries are read atomically
	l1Dirty       map[int]struct{}
	l2            *tablecache.Cache // slices of L2 tables by host offset
	fresh         map[hostOff]bool  // L2 tables that the L1 table in the file does not refer to yet
	refTable      []uint64          // host offsets of refcount blocks
	refTableDirty map[int]struct{}
	refTableMoved bool // the header in the file names another table
	l1Moved       bool // so for the L1 table, and the size
	headerDirty   bool // the whole header cluster is to be written
	refBlocks     *tablecache.Cache
	nextFree      uint64  // cluster index: none below it is known to be free
	nextFreeByte  hostOff // where compressed data may go on, 0 if nowhere
	virgin        hostOff // no cluster from here on was ever used: what is not written reads as zeroes
	givenUp       []release
	discards      []discardRange
	metaClusters  map[uint64]section // for overlap checks, built by the first write
}

// extended reports whether L2 entries keep subclusters.
func (i *image) extended() bool { return i.entryWords == 2 }

// external reports whether data lives in an external data file.
func (i *image) external() bool { return i.dataApart }

// rawExternal reports whether the external data file must always read as the disk does.
func (i *image) rawExternal() bool { return i.external() && i.hdr.autoclear&autoclearRaw != 0 }

func (i *image) inCluster(off int64) int64 { return off & (i.clusterSize - 1) }

func (i *image) clusterStart(off int64) int64 { return off &^ (i.clusterSize - 1) }

func (i *image) roundUp(n int64) int64 { return (n + i.clusterSize - 1) &^ (i.clusterSize - 1) }

func (i *image) clustersFor(n int64) int64 { return (n + i.clusterSize - 1) >> i.clusterBits }

func (i *image) writable() bool { return i.flags.Has(formats.ReadWrite) }

// Size is the virtual size.
func (i *image) Size() int64 { return i.size.Load() }

// Limits of requests: encrypted images work on sectors of 512 bytes.
func (i *image) Limits() formats.Limits {
	l := formats.Limits{Align: 1, ZeroAlign: 1 << i.subBits, DiscardAlign: i.clusterSize,
		ZeroUnmap: i.hdr.version >= 3, ZeroInit: i.zeroInit}
	if i.cipher != nil {
		l.Align = int64(i.cipher.SectorSize())
	}
	return l
}

// usable fails once the image was marked corrupt.
func (i *image) usable() error {
	if i.corrupt.Load() {
		return qerr.New(syscall.ENOMEDIUM, "No medium found")
	}
	return nil
}

// signalCorruption reports damage. Fatal damage sets the corrupt bit in the file and makes the image unusable. It
// returns EIO, without words: they have been said.
func (i *image) signalCorruption(fatal bool, format string, a ...any) error {
	fatal = fatal && i.writable()
	if i.corruptWarned.Swap(true) && (!fatal || i.corrupt.Load()) {
		return syscall.EIO
	}
	what := strings.ReplaceAll(fmt.Sprintf(format, a...), "0x0", "0") // C's %#x gives no prefix to 0
	if !fatal {
		i.env.Report("qcow2: Image is corrupt: %s; further non-fatal corruption events will be suppressed", what)
		return syscall.EIO
	}
	i.env.Report("qcow2: Marking image as corrupt: %s; further corruption events will be suppressed", what)
	if !i.corrupt.Swap(true) && i.hdr.version >= 3 {
		// Nothing is written after this, so the header in memory may stay as it is. That it cannot be written changes
		// nothing either.
		_ = i.writeIncompat(context.Background(), i.hdr.incompat|incompatCorrupt)
	}
	return syscall.EIO
}
