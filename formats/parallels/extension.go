package parallels

import (
	"context"
	"crypto/md5"
	"encoding/binary"
	"syscall"

	"platter/formats/qerr"
)

const (
	extensionMagic = 0xAB234CEF23DCEA87
	endOfFeatures  = 0
	dirtyBitmap    = 0x20385FAE252CB34A

	extensionHead = 24 // magic and MD5 sum
	featureHead   = 24 // magic, flags, length of the data

	atExtOff = 56
)

// readExtension verifies the format extension and finds the bitmaps that it describes. It has the size of a cluster,
// which can be 2 GiB, so it is not held in memory.
func (d *image) readExtension(ctx context.Context) error {
	off := int64(d.head.extOff) * sectorSize
	if off >= d.file.Size() {
		return wrongMagic(0)
	}
	head := make([]byte, extensionHead)
	if err := d.file.ReadAt(ctx, head, off); err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to read Format Extension cluster")
	}
	if m := binary.LittleEndian.Uint64(head); m != extensionMagic {
		return wrongMagic(m)
	}
	sum, err := d.sum(ctx, off+extensionHead, off+d.cluster)
	if err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to read Format Extension cluster")
	}
	if sum != [md5.Size]byte(head[8:]) {
		return qerr.New(syscall.EINVAL, "Wrong checksum in Format Extension header. Format extension is corrupted.")
	}
	return d.readFeatures(ctx, off+extensionHead, off+d.cluster)
}

func wrongMagic(m uint64) error {
	return qerr.New(syscall.EINVAL, "Wrong parallels Format Extension magic: 0x%x, expected: 0x%x", m, uint64(extensionMagic))
}

// sum is the MD5 sum of the file's bytes from off to end; those past its end are zeroes.
func (d *image) sum(ctx context.Context, off, end int64) (sum [md5.Size]byte, err error) {
	h, buf := md5.New(), make([]byte, min(copyPiece, end-off))
	for off < end {
		p := buf[:min(end-off, int64(len(buf)))]
		if err := d.file.ReadAt(ctx, p, off); err != nil {
			return sum, err
		}
		h.Write(p)
		off += int64(len(p))
	}
	return [md5.Size]byte(h.Sum(nil)), nil
}

// readFeatures goes from feature to feature, the first at off, up to the end mark.
func (d *image) readFeatures(ctx context.Context, off, end int64) error {
	le, p := binary.LittleEndian, make([]byte, featureHead)
	for {
		if end-off < featureHead {
			return qerr.New(syscall.EINVAL, "Can not read feature header, as remaining bytes (%d) in Format Extension is less "+
				"than Feature header size (%d)", end-off, featureHead)
		}
		if err := d.file.ReadAt(ctx, p, off); err != nil {
			return qerr.Errno(qerr.Of(err), "Failed to read Format Extension cluster")
		}
		off += featureHead
		magic, flags, n := le.Uint64(p), le.Uint64(p[8:]), int64(le.Uint32(p[16:]))
		switch {
		case flags != 0:
			return qerr.New(syscall.EINVAL, "Flags for extension feature are unsupported")
		case n > end-off:
			return qerr.New(syscall.EINVAL, "Feature data_size exceedes Format Extension cluster")
		case magic == endOfFeatures:
			return nil
		case magic != dirtyBitmap:
			return qerr.New(syscall.EINVAL, "Unknown feature: 0x%x", magic)
		}
		if err := d.readBitmapFeature(ctx, off, n); err != nil {
			return err
		}
		off = min(off+(n+7)&^7, end)
	}
}

// dropExtension takes the format extension out of the header, for good: its bitmaps do not tell of what is written from
// now on, and its clusters are used again or cut off. QEMU leaves the field as it is; it, and Parallels, then refuse the
// image when they find something else there.
func (d *image) dropExtension(ctx context.Context) error {
	if !d.extension.Load() {
		return nil
	}
	d.dropping.Lock()
	defer d.dropping.Unlock()
	if !d.extension.Load() {
		return nil
	}
	err := d.file.WriteAt(ctx, make([]byte, 8), atExtOff, 0)
	if err == nil {
		err = d.file.Flush(ctx)
	}
	if err == nil {
		d.extension.Store(false)
	}
	return err
}
