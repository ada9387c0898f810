package parallels

import (
	"context"
	"crypto/md5"
	"encoding/binary"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

const (
	extensionMagic = 0xAB234CEF23DCEA87
	endOfFeatures  = 0
	dirtyBitmap    = 0x20385FAE252CB34A

	extensionHead = 24 // magic and MD5 sum
	featureHead   = 24 // magic, flags, length of the data
)

// verifyExtension looks through the format extension at off in file, which has the size of a cluster.
func verifyExtension(ctx context.Context, file formats.File, off, cluster int64) error {
	if off >= file.Size() {
		return wrongMagic(0)
	}
	p := make([]byte, cluster)
	if err := file.ReadAt(ctx, p, off); err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to read Format Extension cluster")
	}
	if m := binary.LittleEndian.Uint64(p); m != extensionMagic {
		return wrongMagic(m)
	}
	if md5.Sum(p[extensionHead:]) != [16]byte(p[8:extensionHead]) {
		return qerr.New(syscall.EINVAL, "Wrong checksum in Format Extension header. Format extension is corrupted.")
	}
	return verifyFeatures(p[extensionHead:])
}

func wrongMagic(m uint64) error {
	return qerr.New(syscall.EINVAL, "Wrong parallels Format Extension magic: 0x%x, expected: 0x%x", m, uint64(extensionMagic))
}

// verifyFeatures goes from feature to feature up to the end mark. p begins and stays aligned to 8 bytes.
func verifyFeatures(p []byte) error {
	le := binary.LittleEndian
	for {
		if len(p) < featureHead {
			return qerr.New(syscall.EINVAL, "Can not read feature header, as remaining bytes (%d) in Format Extension is less "+
				"than Feature header size (%d)", len(p), featureHead)
		}
		magic, flags, n := le.Uint64(p), le.Uint64(p[8:]), uint64(le.Uint32(p[16:]))
		p = p[featureHead:]
		switch {
		case flags != 0:
			return qerr.New(syscall.EINVAL, "Flags for extension feature are unsupported")
		case n > uint64(len(p)):
			return qerr.New(syscall.EINVAL, "Feature data_size exceedes Format Extension cluster")
		case magic == endOfFeatures:
			return nil
		case magic != dirtyBitmap:
			return qerr.New(syscall.EINVAL, "Unknown feature: 0x%x", magic)
		}
		p = p[min((n+7)&^7, uint64(len(p))):]
	}
}
