package qcow2

import (
	"context"
	"encoding/binary"
	"sync"
	"syscall"
	"time"

	"platter/formats"
	"platter/formats/internal/tablecache"
	"platter/formats/qerr"
)

// Driver is the qcow2 format.
func Driver() *formats.Driver {
	return &formats.Driver{
		Name: "qcow2", Kind: formats.Format, RemovesFailed: true, Backing: true, Compresses: true, CopyRange: true,
		OpenOpts:    openSchema(),
		StrongOpts:  []string{"encrypt.key-secret"},
		CreateOpts:  createSchema(),
		AmendOpts:   amendSchema(),
		CreateNeeds: createNeeds,
		Create:      create,
		Probe:       probe,
		Needs:       needs,
		Open:        open,
		Measure:     measure,
	}
}

func probe(head []byte, _ string) int {
	if len(head) >= 8 && binary.BigEndian.Uint32(head) == magic && binary.BigEndian.Uint32(head[4:]) >= 2 {
		return 100
	}
	return 0
}

// needs asks for the external data file. Its name is meant from the current directory, as QEMU takes it.
func needs(ctx context.Context, a formats.OpenArgs) ([]formats.Need, error) {
	if a.File == nil {
		return nil, qerr.New(syscall.EINVAL, "A block device must be specified for \"file\"")
	}
	h, err := readHeader(ctx, a.File)
	if err != nil || a.Flags.Has(formats.NoIO) {
		return nil, nil // open reports what is wrong
	}
	// Options are looked at before any data file is opened; what is wrong with them open reports, too.
	if i := newImage(a, h); i.checkHeader(ctx) != nil || i.parseOptions(a.Options) != nil {
		return nil, nil
	}
	if h.incompat&incompatDataFile == 0 {
		if h.cryptMethod == cryptLUKS {
			return nil, nil // the passphrase is asked for first
		}
		// If options give one nevertheless, it is opened, and then refused.
		return []formats.Need{{Role: "data-file", Given: true, Literal: true}}, nil
	}
	quiet := &formats.Env{Warn: func(string, ...any) {}, Report: func(string, ...any) {}}
	if err := h.readExtensions(ctx, a.File, quiet); err != nil {
		return nil, nil
	}
	// Without a name, only runtime options can say which file it is.
	return []formats.Need{{Role: "data-file", Name: h.ext.dataFile, Literal: true, Optional: h.ext.dataFile == ""}}, nil
}

func open(ctx context.Context, a formats.OpenArgs) (formats.Image, error) {
	if a.File == nil {
		return nil, qerr.New(syscall.EINVAL, "A block device must be specified for \"file\"")
	}
	h, err := readHeader(ctx, a.File)
	if err != nil {
		return nil, err
	}
	i := newImage(a, h)
	if err := i.checkHeader(ctx); err != nil {
		return nil, err
	}
	if err := i.loadL1(ctx); err != nil {
		return nil, err
	}
	if err := i.parseOptions(a.Options); err != nil {
		return nil, err
	}
	i.setCaches()
	if err := i.loadRefTable(ctx); err != nil {
		return nil, qerr.Errno(qerr.Of(err), "Could not initialize refcount handling")
	}
	if err := h.readExtensions(ctx, a.File, a.Env); err != nil {
		return nil, err
	}
	if err := i.takeDataFile(a); err != nil {
		return nil, err
	}
	if err := i.openCipher(ctx, a); err != nil {
		return nil, err
	}
	if err := h.readBackingName(ctx, a.File); err != nil {
		return nil, err
	}
	if h.size > 1<<63-1 {
		return nil, qerr.Errno(syscall.EFBIG, "Could not refresh total sector count")
	}
	if err := i.finishOpen(ctx); err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.startCleaning()
	return i, nil
}

func newImage(a formats.OpenArgs, h *header) *image {
	i := &image{name: a.Name, file: a.File, data: a.File, flags: a.Flags, env: a.Env, events: formats.EventsOf(a.File), hdr: h,
		l1Dirty: map[int]struct{}{}, refTableDirty: map[int]struct{}{}, fresh: map[hostOff]bool{}}
	i.linked = sync.NewCond(&i.mu)
	i.setGeometry()
	return i
}

// setGeometry derives what depends on the header alone.
func (i *image) setGeometry() {
	h := i.hdr
	i.clusterBits, i.clusterSize = uint(h.clusterBits), 1<<h.clusterBits
	i.dataApart = h.incompat&incompatDataFile != 0
	i.entryWords, i.subBits = 1, i.clusterBits
	if h.incompat&incompatExtL2 != 0 {
		i.entryWords, i.subBits = 2, i.clusterBits-5
	}
	i.l2Bits = i.clusterBits - 3 - uint(i.entryWords-1)
	i.setWidth()
	i.size.Store(int64(min(h.size, 1<<63-1)))
}

// setWidth derives what depends on the width of refcounts.
func (i *image) setWidth() {
	i.refOrder = uint(i.hdr.refOrder)
	i.refMax = 1<<63 - 1 + 1<<63
	if i.refOrder < 6 {
		i.refMax = 1<<(1<<i.refOrder) - 1
	}
	i.refBlockBits = i.clusterBits + 3 - i.refOrder
}

// setCaches makes empty caches by the options.
func (i *image) setCaches() {
	i.sliceBits = log2(i.opts.sliceSize / 8 / i.entryWords)
	i.l2 = tablecache.New(i.opts.sliceSize, i.opts.l2Slices)
	i.refBlocks = tablecache.New(int(i.clusterSize), i.opts.refTables)
}

func log2(n int) uint {
	b := uint(0)
	for 1<<b < n {
		b++
	}
	return b
}

// checkHeader checks what the fixed header says, in QEMU's order.
func (i *image) checkHeader(ctx context.Context) error {
	h, check := i.hdr, i.flags.Has(formats.ForCheck)
	if mask := h.incompat &^ incompatKnown; mask != 0 {
		quiet := &formats.Env{Warn: func(string, ...any) {}, Report: func(string, ...any) {}}
		_ = h.readExtensions(ctx, i.file, quiet) // for the table of names, as far as it can be read
		return h.ext.unsupported(mask)
	}
	if h.incompat&incompatCorrupt != 0 && i.writable() && !check {
		return qerr.New(syscall.EACCES, "qcow2: Image is corrupt; cannot be opened read/write")
	}
	if i.subBits < minClusterBits {
		return qerr.New(syscall.EINVAL, "Unsupported subcluster size: %d", 1<<i.subBits)
	}
	if h.refOrder > 6 {
		return qerr.New(syscall.EINVAL, "Reference count entry width too large; may not exceed 64 bits")
	}
	if h.refTableCluster == 0 && !check {
		return qerr.New(syscall.EINVAL, "Image does not contain a reference count table")
	}
	err := h.checkTable(h.refTableOffset, uint64(h.refTableCluster), uint64(i.clusterSize), maxRefTable, "Reference count table")
	if err == nil && !check {
		err = h.checkTable(h.snapshotsOffset, uint64(h.snapshots), 40, 40*maxSnapshots, "Snapshot table")
	}
	if err == nil {
		err = h.checkTable(h.l1Offset, uint64(h.l1Size), 8, maxL1Size, "Active L1 table")
	}
	return err
}

// loadL1 reads the active L1 table.
func (i *image) loadL1(ctx context.Context) error {
	h := i.hdr
	perTable := i.clusterBits + i.l2Bits
	need := (h.size + 1<<perTable - 1) >> perTable // where this wraps around, the size is refused later, as in QEMU
	if need > 1<<31-1 {
		return qerr.New(syscall.EFBIG, "Image is too big")
	}
	i.vmStateAt = guestOff(need << perTable)
	if uint64(h.l1Size) < need {
		return qerr.New(syscall.EINVAL, "L1 table is too small")
	}
	var err error
	if i.l1, err = readTable(ctx, i.file, int64(h.l1Offset), int64(h.l1Size)); err != nil {
		return qerr.Errno(qerr.Of(err), "Could not read L1 table")
	}
	return nil
}

func (i *image) loadRefTable(ctx context.Context) error {
	h := i.hdr
	i.events.Raise(formats.EventRefTableLoad)
	var err error
	i.refTable, err = readTable(ctx, i.file, int64(h.refTableOffset), int64(h.refTableCluster)<<(i.clusterBits-3))
	return err
}

// readTable reads n big-endian words, which the caller has checked against the format's limit. What lies past the end
// of the file is zero.
func readTable(ctx context.Context, file formats.File, off, n int64) ([]uint64, error) {
	words := make([]uint64, n)
	buf := make([]byte, min(n*8, 1<<20))
	for done := int64(0); done < n && off+done*8 < file.Size(); {
		part := buf[:min(int64(len(buf)), (n-done)*8)]
		if err := file.ReadAt(ctx, part, off+done*8); err != nil {
			return nil, err
		}
		for k := 0; k < len(part); k += 8 {
			words[done] = binary.BigEndian.Uint64(part[k:])
			done++
		}
	}
	return words, nil
}

func (i *image) takeDataFile(a formats.OpenArgs) error {
	data := a.Children["data-file"]
	switch {
	case i.flags.Has(formats.NoIO):
		i.data = nil
		if !i.external() {
			i.data = i.file
		}
	case i.external() && data == nil:
		return qerr.New(syscall.EINVAL, "'data-file' is required for this image")
	case i.external():
		i.data = data
	case data != nil:
		return qerr.New(syscall.EINVAL, "'data-file' can only be set for images with an external data file")
	case i.hdr.autoclear&autoclearRaw != 0:
		return qerr.New(syscall.EINVAL, "data-file-raw requires a data file")
	}
	return nil
}

// startCleaning drops tables that are not used any more from the caches from time to time, until the image is closed.
func (i *image) startCleaning() {
	if i.opts.cleanInterval == 0 {
		return
	}
	i.cleaner = time.AfterFunc(i.opts.cleanInterval, func() {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.closed {
			return
		}
		i.l2.DropIdle()
		i.refBlocks.DropIdle()
		i.cleaner.Reset(i.opts.cleanInterval)
	})
}

// stopCleaning ends that.
func (i *image) stopCleaning() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	if i.cleaner != nil {
		i.cleaner.Stop()
	}
}

// finishOpen reads what needs a working image, and makes a writable one ready.
func (i *image) finishOpen(ctx context.Context) error {
	i.virgin = hostOff(i.roundUp(i.file.Size()))
	if !i.file.Limits().ZeroInit {
		i.virgin = 1<<63 - 1
	}
	i.zeroInit = i.readsZeroNew()
	if err := i.loadSnapshots(ctx); err != nil {
		return err
	}
	if i.writable() && (i.hdr.autoclear&^autoclearKnown != 0 || i.hdr.ext.stale) {
		i.hdr.autoclear &= autoclearKnown
		i.headerDirty = true
	}
	if err := i.loadBitmaps(ctx); err != nil {
		return err
	}
	if i.headerDirty {
		if err := i.commit(ctx); err != nil {
			return qerr.Errno(qerr.Of(err), "Could not update qcow2 header")
		}
	}
	if i.writable() && !i.flags.Has(formats.ForCheck) && i.hdr.incompat&incompatDirty != 0 {
		if err := i.repairDirty(ctx); err != nil {
			return qerr.Errno(qerr.Of(err), "Could not repair dirty image")
		}
	}
	return nil
}
