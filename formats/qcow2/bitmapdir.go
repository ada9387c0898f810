package qcow2

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"syscall"

	"platter/formats"
	"platter/formats/bitmap"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// Limits of bitmaps as QEMU sets them, and the bits of directory and table entries ("Bitmaps extension" of the
// specification).
const (
	maxBitmapTable   = 0x8000000  // entries
	maxBitmapBytes   = 0x20000000 // of a bitmap in memory
	maxBitmapsBytes  = 1 << 30    // of all of them
	maxBitmapName    = 1023
	minBitmapShift   = 9
	maxBitmapShift   = 31
	bitmapEntryLen   = 24
	bitmapTypeDirty  = 1
	bitmapInUse      = 1 << 0
	bitmapAuto       = 1 << 1
	bitmapReserved   = 0xfffffffc
	bitmapAllOnes    = 1 << 0
	bitmapTabReserve = 0xff000000000001fe
)

// storedBitmap is a persistent dirty bitmap.
type storedBitmap struct {
	name    string
	shift   uint           // log2 of the granularity in bytes
	flags   uint32         // in the directory in the file; 0 if it is not in there
	table   hostOff        // of its table in the file, 0 if it has none yet
	entries int64          // of the table
	data    []uint64       // the table, until the bits are loaded
	bits    *bitmap.Bitmap // nil: inconsistent, or not loaded yet
	enabled bool
	broken  bool // inconsistent: whoever had it open did not close it
}

// bitmapSet is the list of persistent dirty bitmaps.
type bitmapSet struct {
	list      []*storedBitmap
	recording atomic.Pointer[[]*bitmap.Bitmap] // those that are enabled
}

// Record marks what a request is about to change in the enabled bitmaps.
func (i *image) Record(off, n int64) {
	if on := i.bitmaps.recording.Load(); on != nil {
		for _, b := range *on {
			b.Set(off, n)
		}
	}
}

// update makes what is recorded agree with the list.
func (s *bitmapSet) update() {
	var on []*bitmap.Bitmap
	for _, b := range s.list {
		if b.enabled && b.bits != nil {
			on = append(on, b.bits)
		}
	}
	if on == nil {
		s.recording.Store(nil)
		return
	}
	s.recording.Store(&on)
}

// resize follows a new size of the disk.
func (s *bitmapSet) resize(size int64) {
	for _, b := range s.list {
		if b.bits != nil {
			b.bits.Resize(size)
		}
	}
}

func (s *bitmapSet) find(name string) *storedBitmap {
	for _, b := range s.list {
		if b.name == name {
			return b
		}
	}
	return nil
}

// loadBitmaps reads the bitmaps. In an image opened for writing they are marked as in use before anything else is
// written: after a crash they are inconsistent.
func (i *image) loadBitmaps(ctx context.Context) error {
	ext := i.hdr.ext.bitmaps
	if ext.count == 0 {
		return nil
	}
	list, err := i.readBitmapDirectory(ctx, ext)
	if err != nil {
		return qerr.New(syscall.EINVAL, "%s", err)
	}
	total, mark := int64(0), false
	for _, b := range list {
		if b.broken {
			continue
		}
		if total += i.bitmapBytes(b.shift); total > maxBitmapsBytes {
			return qerr.New(syscall.ENOMEM, "the bitmaps of the image take too much memory")
		}
		if b.data, err = i.readBitmapTable(ctx, b); err != nil {
			err = qerr.Errno(qerr.Of(err), "Could not read bitmap_table table from image for bitmap '%s'", b.name)
		} else if i.writable() {
			err = i.loadBits(ctx, b)
		}
		if err != nil {
			return qerr.New(syscall.EINVAL, "%s", err)
		}
		b.enabled, mark = b.flags&bitmapAuto != 0, true
	}
	i.bitmaps.list = list
	i.bitmaps.update()
	if mark && i.writable() {
		return i.markInUse(ctx)
	}
	return nil
}

// markInUse sets the flag of all bitmaps in the directory, in place: each entry's flags lie in one sector, so that a crash
// leaves it set or not.
func (i *image) markInUse(ctx context.Context) error {
	for _, b := range i.bitmaps.list {
		b.flags |= bitmapInUse
	}
	raw := encodeBitmapDirectory(i.bitmaps.list)
	if uint64(len(raw)) != i.hdr.ext.bitmaps.directorySize {
		return qerr.Errno(syscall.EINVAL, "Can't update bitmap directory")
	}
	err := i.file.WriteAt(ctx, raw, int64(i.hdr.ext.bitmaps.directoryOffset), 0)
	if err == nil {
		err = i.file.Flush(ctx)
	}
	if err != nil {
		return qerr.Errno(qerr.Of(err), "Can't update bitmap directory")
	}
	return nil
}

// readBitmapDirectory reads and checks the directory.
func (i *image) readBitmapDirectory(ctx context.Context, ext bitmapsExt) ([]*storedBitmap, error) {
	if ext.directorySize == 0 {
		return nil, qerr.New(syscall.EINVAL, "Requested bitmap directory size is zero")
	}
	if ext.directoryOffset+ext.directorySize > uint64(i.roundUp(i.file.Size())) {
		return nil, qerr.New(syscall.EINVAL, "Broken bitmap directory")
	}
	raw := make([]byte, ext.directorySize)
	if err := i.file.ReadAt(ctx, raw, int64(ext.directoryOffset)); err != nil {
		return nil, qerr.Errno(qerr.Of(err), "Failed to read bitmap directory")
	}
	var list []*storedBitmap
	for len(raw) > 0 {
		if len(raw) < bitmapEntryLen {
			return nil, qerr.New(syscall.EINVAL, "Broken bitmap directory")
		}
		if len(list) >= int(ext.count) {
			return nil, qerr.New(syscall.EINVAL, "More bitmaps found than specified in header extension")
		}
		b, n, err := i.bitmapEntry(raw)
		if err != nil {
			return nil, err
		}
		list = append(list, b)
		raw = raw[n:]
	}
	if len(list) != int(ext.count) {
		return nil, qerr.New(syscall.EINVAL, "Less bitmaps found than specified in header extension")
	}
	return list, nil
}

// bitmapEntry decodes the first entry of a directory and gives its length.
func (i *image) bitmapEntry(raw []byte) (*storedBitmap, int64, error) {
	be := binary.BigEndian
	nameLen, extra := int64(be.Uint16(raw[18:])), int64(be.Uint32(raw[20:]))
	n := (bitmapEntryLen + nameLen + extra + 7) &^ 7
	if n > int64(len(raw)) {
		return nil, 0, qerr.New(syscall.EINVAL, "Broken bitmap directory")
	}
	if extra != 0 {
		return nil, 0, qerr.New(syscall.EINVAL, "Bitmap extra data is not supported")
	}
	b := &storedBitmap{table: hostOff(be.Uint64(raw)), entries: int64(be.Uint32(raw[8:])), flags: be.Uint32(raw[12:]),
		shift: uint(raw[17]), name: string(raw[bitmapEntryLen:][:nameLen])}
	b.broken = b.flags&bitmapInUse != 0
	if b.entries == 0 || b.table <= 0 || b.table >= 1<<56 || i.inCluster(int64(b.table)) != 0 || b.entries > maxBitmapTable ||
		b.shift > maxBitmapShift || b.shift < minBitmapShift || b.flags&bitmapReserved != 0 || nameLen > maxBitmapName ||
		raw[16] != bitmapTypeDirty || b.entries<<i.clusterBits > maxBitmapBytes ||
		!b.broken && i.bitmapBytes(b.shift) > b.entries<<i.clusterBits {
		return nil, 0, qerr.New(syscall.EINVAL, "Bitmap '%s' doesn't satisfy the constraints", b.name)
	}
	return b, n, nil
}

// bitmapBytes is how much a bitmap of the disk takes.
func (i *image) bitmapBytes(shift uint) int64 {
	granules := (uint64(i.Size()) + 1<<shift - 1) >> shift
	return int64((granules + 7) / 8)
}

func encodeBitmapDirectory(list []*storedBitmap) []byte {
	var raw []byte
	be := binary.BigEndian
	for _, b := range list {
		raw = be.AppendUint64(raw, uint64(b.table))
		raw = be.AppendUint32(raw, uint32(b.entries))
		raw = be.AppendUint32(raw, b.flags)
		raw = append(raw, bitmapTypeDirty, byte(b.shift))
		raw = be.AppendUint16(raw, uint16(len(b.name)))
		raw = be.AppendUint32(raw, 0)
		raw = append(raw, b.name...)
		raw = append(raw, make([]byte, -len(raw)&7)...)
	}
	return raw
}

// readBitmapTable reads and checks the table of a bitmap.
func (i *image) readBitmapTable(ctx context.Context, b *storedBitmap) ([]uint64, error) {
	table, err := readTable(ctx, i.file, int64(b.table), b.entries)
	if err != nil {
		return nil, err
	}
	for _, e := range table {
		off := e & entryOffset
		if e&bitmapTabReserve != 0 || off != 0 && (e&bitmapAllOnes != 0 || i.inCluster(int64(off)) != 0) {
			return nil, syscall.EINVAL
		}
	}
	return table, nil
}

// loadBits reads the bits of a bitmap, whose table is in data.
func (i *image) loadBits(ctx context.Context, b *storedBitmap) error {
	bits := bitmap.New(i.Size(), 1<<b.shift)
	words := bits.Words()
	perEntry := int(i.clusterSize / 8)
	if (len(words)+perEntry-1)/perEntry != len(b.data) {
		return qerr.Errno(syscall.EINVAL, "Could not read bitmap '%s' from image", b.name)
	}
	raw := make([]byte, i.clusterSize)
	for k, e := range b.data {
		part := words[k*perEntry : min((k+1)*perEntry, len(words))]
		switch off := int64(e & entryOffset); {
		case off != 0:
			if err := i.file.ReadAt(ctx, raw, off); err != nil {
				return qerr.Errno(qerr.Of(err), "Could not read bitmap '%s' from image", b.name)
			}
			for w := range part {
				part[w] = binary.LittleEndian.Uint64(raw[w*8:])
			}
		case e&bitmapAllOnes != 0:
			for w := range part {
				part[w] = 1<<64 - 1
			}
		}
	}
	bits.Resize(i.Size()) // no bits behind the end
	b.bits, b.data = bits, nil
	return nil
}

// describeBitmaps is QAPI's list of Qcow2BitmapInfo: what the directory in the file says. nil if there is none.
func (i *image) describeBitmaps(context.Context) (qobj.List, error) {
	var list qobj.List
	for _, b := range i.bitmaps.list {
		if b.table == 0 {
			continue
		}
		flags := qobj.List{}
		if b.flags&bitmapInUse != 0 {
			flags = append(flags, "in-use")
		}
		if b.flags&bitmapAuto != 0 {
			flags = append(flags, "auto")
		}
		d := qobj.NewDict()
		d.Set("name", b.name)
		d.Set("granularity", int64(1)<<b.shift)
		d.Set("flags", flags)
		list = append(list, d)
	}
	return list, nil
}

// countBitmaps counts what the directory in the file refers to.
func (a *audit) countBitmaps() error {
	ext := a.hdr.ext.bitmaps
	if ext.count == 0 {
		return nil
	}
	a.refer(int64(ext.directoryOffset), int64(ext.directorySize))
	for _, b := range a.bitmaps.list {
		if b.table == 0 {
			continue
		}
		a.refer(int64(b.table), b.entries*8)
		table, err := a.readBitmapTable(a.ctx, b)
		if err != nil {
			a.res.Corruptions++
			return err
		}
		for _, e := range table {
			if off := e & entryOffset; off != 0 {
				a.refer(int64(off), a.clusterSize)
			}
		}
	}
	return nil
}

var _ formats.Recorder = (*image)(nil)
